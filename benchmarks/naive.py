"""The pod that everybody writes first, to measure against: Starlette calls the model inline.

NAIVE_FOLDER=… NAIVE_PORT=… python -m benchmarks.naive
"""

import json
import os
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def app(folder: Path) -> Starlette:
    """Return the application: one route, in the form of TensorFlow Serving's."""
    import tensorflow as tf  # noqa: PLC0415 - seconds long

    loaded = tf.saved_model.load(str(folder / "1"))
    classify = loaded.signatures["serving_default"]

    async def predict(request: Request) -> JSONResponse:
        rows = json.loads(await request.body())["instances"]
        answer = classify(x=tf.constant(rows, tf.float32))
        return JSONResponse({"predictions": answer["y"].numpy().tolist()})

    return Starlette(routes=[Route("/v1/models/dense:predict", predict, methods=["POST"])])


if __name__ == "__main__":
    given = os.environ
    uvicorn.run(app(Path(given["NAIVE_FOLDER"])), port=int(given["NAIVE_PORT"]), access_log=False, log_level="error")
