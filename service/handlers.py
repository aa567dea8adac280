"""Thin handlers of what is asked beside inference: which models there are, in which state, and what they take."""

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from service.codecs import http, jsontensor, oipmodels, tfmodels
from service.door.bodies import Body, Room
from service.errors import IncompleteRequest, InvalidRequest, NotFound, NotSupported, PodError
from service.models.models import Model, Models

#: The body of a request that asks for no inference may have so many bytes, and take so long to come; and so many of
#: them may be on their way at once.
_LONGEST: Final = 4 << 10
_SECONDS: Final = 10.0
_PLACES: Final = 256


def served(scope: Scope) -> Model:
    """Return the model that the path names. Raises InvalidRequest, NotFound, NotReady."""
    models: Models = scope["state"]["models"]
    given = scope["path_params"]
    return models.get(given["model"], version_in(given), given.get("label"))


def version_in(given: Mapping[str, str]) -> int | None:
    """Return the version that the path names, or None. Raises InvalidRequest for one that is no number."""
    text = given.get("version")
    return None if text is None else http.version_of(text)


def unknown(method: str, path: str) -> PodError:
    """Return what is to be said of a path that is not in the table; below /v1 it is what TensorFlow Serving says."""
    lower = path.lower()
    if lower == "/v1/models":
        return InvalidRequest("Missing model name in request.")
    if lower.startswith("/v1/models/") and lower.endswith((":classify", ":regress")):
        return NotSupported(f"{lower.rpartition(':')[2]} is not served here: ask by predict")
    kind = InvalidRequest if lower.startswith("/v1/") else NotFound
    return kind(f"Malformed request: {method} {path}")


def small_room() -> Room:
    """Return the room that `small_body` finds in its request's state as `small`."""
    return Room(_PLACES * _LONGEST, _PLACES)


async def small_body(request: Request, seconds: float = _SECONDS) -> bytes:
    """Return the body, which the door bounds for inference requests only; it may take so long to come.

    Raises as Body does, IncompleteRequest.
    """
    with Body(request.state.small, longest=_LONGEST, declared=0, coding=None) as body:
        try:
            async with asyncio.timeout(seconds):
                return bytes((await body.whole(request.receive))["body"])
        except TimeoutError:
            raise IncompleteRequest("the body did not arrive in time") from None


async def tfserving_status(request: Request) -> Response:
    """Answer with the states of the model's versions, or of the one named."""
    given = request.path_params
    states = request.state.models.states(given["model"], version_in(given), given.get("label"))
    return _json(tfmodels.status(states))


async def tfserving_metadata(request: Request) -> Response:
    """Answer with the model's signatures."""
    model = served(request.scope)
    return _json(tfmodels.metadata(model.name, model.version, model.signatures))


async def oip_server(request: Request) -> Response:
    """Answer with the server's name and version."""
    return _json(oipmodels.server("tfpod", request.state.version))


async def oip_live(_: Request) -> Response:
    """Answer, which is all that is asked."""
    return _json({"live": True})


async def oip_ready(request: Request) -> Response:
    """Answer 200 from the moment every model is ready until the end begins, else 503."""
    ready = request.state.health.ready() is None
    return _json({"ready": ready}, 200 if ready else 503)


async def oip_model(request: Request) -> Response:
    """Answer with the model's versions that are ready, and the inputs and outputs of the one asked for."""
    model = served(request.scope)
    versions = [state.version for state in request.state.models.states(model.name) if state.ready]
    return _json(oipmodels.model(model.name, model.platform, versions, model.signatures))


async def oip_config(request: Request) -> Response:
    """Answer with the model's configuration, as Triton's clients look for it."""
    model = served(request.scope)
    return _json(oipmodels.config(model.name, model.platform, model.batcher.most_rows, model.signatures))


async def oip_index(request: Request) -> Response:
    """Answer with all versions of all models, or those that are ready."""
    states = request.state.models.index()
    ready = oipmodels.decode_index(await small_body(request))
    return _json(oipmodels.index(state for state in states if state.ready or not ready))


async def oip_load(_: Request) -> Response:
    """Refuse to load or unload a model."""
    raise NotSupported("models are not loaded by request: a version that is put into its model's folder is served")


async def oip_model_ready(request: Request) -> Response:
    """Answer 200 if the model is ready; the door answers 404 or 503 otherwise."""
    return _json({"name": served(request.scope).name, "ready": True})


def _json(document: object, status: int = 200) -> Response:
    return Response(jsontensor.dump(document), status, headers=http.JSON)
