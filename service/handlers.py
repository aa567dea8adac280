"""Thin handlers of what is asked beside inference: which models there are, in which state, and what they take."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from service.codecs import http, oip, tfmodels
from service.errors import InvalidRequest
from service.models import Model, Models


def served(scope: Scope) -> Model:
    """Return the model that the path names. Raises InvalidRequest, NotFound, NotReady."""
    models: Models = scope["state"]["models"]
    given = scope["path_params"]
    return models.get(given["model"], version_in(scope), given.get("label"))


def version_in(scope: Scope) -> int | None:
    """Return the version that the path names, or None. Raises InvalidRequest for one that is no number."""
    text = scope["path_params"].get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidRequest(f"Failed to convert version: {text[:64]} to numeric.")
    return int(text)


async def tfserving_status(request: Request) -> Response:
    """Answer with the states of the model's versions, or of the one named."""
    given = request.path_params
    states = request.state.models.states(given["model"], version_in(request.scope), given.get("label"))
    return _json(tfmodels.encode_status(states))


async def tfserving_metadata(request: Request) -> Response:
    """Answer with the model's signatures."""
    model = served(request.scope)
    return _json(tfmodels.encode_metadata(model.name, model.version, model.signatures))


async def oip_server(request: Request) -> Response:
    """Answer with the server's name and version."""
    return _json(oip.encode_server("tfpod", request.state.version))


async def oip_live(_: Request) -> Response:
    """Answer, which is all that is asked."""
    return _json(oip.encode_live())


async def oip_ready(request: Request) -> Response:
    """Answer 200 from the moment every model is ready until the end begins, else 503."""
    ready = request.state.health.ready() is None
    return _json(oip.encode_ready(ready=ready), 200 if ready else 503)


async def oip_model(request: Request) -> Response:
    """Answer with the model's inputs and outputs."""
    model = served(request.scope)
    return _json(oip.encode_model(model.name, [model.version], model.signatures))


async def oip_model_ready(request: Request) -> Response:
    """Answer 200 if the model is ready; the door answers 404 or 503 otherwise."""
    return _json(oip.encode_ready(ready=True, model=served(request.scope).name))


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, headers=http.JSON)
