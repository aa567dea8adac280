"""The pod that everybody writes first: Starlette calls the model inline."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.peers.model import load

run = load()


async def predict(request: Request) -> JSONResponse:
    """Answer rows with rows."""
    asked = await request.json()
    return JSONResponse({"predictions": run(asked["instances"]).tolist()})


app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
