"""The one route table, and the thin handlers behind it: the walk of a request on one screen."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route, Router
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from service import pages
from service.codecs import http, oip, tfserving
from service.errors import InvalidRequest, NotFound, PodError, Unauthenticated, UnsupportedMedia
from service.metrics import CONTENT_TYPE, Metrics
from service.models import Model, Models
from service.types import Call, Reply, Signatures

T = TypeVar("T")

#: Bodies and tensors above this many bytes are decoded and encoded in a thread, between whose steps the loop goes on.
_LARGE: Final = 256 << 10
_VERSION: Final = "{version}"


class Codec(Protocol):
    """A wire format of inference requests; tfserving.py says what the two do."""

    def decode(self, body: bytes, headers: Mapping[str, str], signatures: Signatures, /) -> Call:
        """Return the call that a request makes; the headers have lower-case names. Raises InvalidRequest."""
        ...

    def encode(self, call: Call, reply: Reply, /) -> tuple[bytes, Mapping[str, str]]:
        """Return the answer's body, and its headers."""
        ...


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes ask: each returns None if all is well, else what is wrong."""

    live: Callable[[], str | None]
    ready: Callable[[], str | None]


async def infer(codec: Codec, request: Request) -> Response:
    """Walk from the body to the answer; 401, 403, 408, 413 and 429 were settled at the door."""
    model = _model(request)  # 404 503
    _check_encoding(request)  # 415
    body = await request.body()
    call = await _aside(len(body), codec.decode, body, request.headers, model.signatures)  # 400
    deadline = min(request.state.deadline, time.monotonic() + call.seconds)
    outputs = await model.batcher.submit(call, deadline)  # 413 429 500 504
    size = sum(array.nbytes for array in outputs.values())
    answer, headers = await _aside(size, codec.encode, call, Reply(outputs, model.name, model.version))
    return Response(answer, headers=headers)


async def tfserving_status(request: Request) -> Response:
    """Answer with the state of the model's version."""
    state = request.state.models.state(request.path_params["model"], _version(request))
    return _json(tfserving.encode_status(dict([state])))


async def tfserving_metadata(request: Request) -> Response:
    """Answer with the model's signatures."""
    model = _model(request)
    return _json(tfserving.encode_metadata(model.name, model.version, model.signatures))


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
    model = _model(request)
    return _json(oip.encode_model(model.name, [model.version], model.signatures))


async def oip_model_ready(request: Request) -> Response:
    """Answer 200 if the model is ready; the door answers 404 or 503 otherwise."""
    return _json(oip.encode_ready(ready=True, model=_model(request).name))


_predict, _infer = functools.partial(infer, tfserving), functools.partial(infer, oip)

#: Counted for scaling; the names are the metrics' label values.
INFERENCE: Final = [
    Route("/v1/models/{model}:predict", _predict, methods=["POST"], name="tfserving_predict"),
    Route(f"/v1/models/{{model}}/versions/{_VERSION}:predict", _predict, methods=["POST"], name="tfserving_predict"),
    Route("/v2/models/{model}/infer", _infer, methods=["POST"], name="oip_infer"),
    Route(f"/v2/models/{{model}}/versions/{_VERSION}/infer", _infer, methods=["POST"], name="oip_infer"),
]
#: Open to those without a token.
OPEN: Final = [
    Route("/", pages.home),
    Route("/page/{file}", pages.static),
    Route("/v2/health/live", oip_live),
    Route("/v2/health/ready", oip_ready),
]
CLOSED: Final = [
    Route("/v1/models/{model}", tfserving_status),
    Route(f"/v1/models/{{model}}/versions/{_VERSION}", tfserving_status),
    Route("/v1/models/{model}/metadata", tfserving_metadata),
    Route(f"/v1/models/{{model}}/versions/{_VERSION}/metadata", tfserving_metadata),
    Route("/v2", oip_server),
    Route("/v2/models/{model}", oip_model),
    Route(f"/v2/models/{{model}}/versions/{_VERSION}", oip_model),
    Route("/v2/models/{model}/ready", oip_model_ready),
    Route(f"/v2/models/{{model}}/versions/{_VERSION}/ready", oip_model_ready),
]


def classify(scope: Scope) -> tuple[bool, str | None]:
    """Return whether the request is open to all, and the name of its route if it asks for inference."""
    return (
        any(route.matches(scope)[0] is Match.FULL for route in OPEN),
        next((route.name for route in INFERENCE if route.matches(scope)[0] is Match.FULL), None),
    )


def respond(_: Scope, error: PodError) -> Response:
    """Return the answer that tells of `error`."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return Response(http.encode_error(str(error)), http.status_of(error), headers, "application/json")


def api(models: Models, health: Health, version: str, lifespan: Lifespan[Any]) -> ASGIApp:
    """Return the API as an application. It raises PodError for what it refuses; the door around it answers."""
    router = Router([*INFERENCE, *OPEN, *CLOSED], redirect_slashes=False, lifespan=lifespan)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = app
        if scope["type"] == "http":
            scope.setdefault("state", {}).update(models=models, health=health, version=version)
        try:
            await router(scope, receive, send)
        except HTTPException as error:
            if error.status_code == 404:
                raise NotFound(f"Malformed request: {scope['method']} {scope['path']}") from None
            refusal = JSONResponse({"error": error.detail}, error.status_code, error.headers)
            await refusal(scope, receive, send)

    return app


def admin(metrics: Metrics, health: Health) -> ASGIApp:
    """Return the application of the port that is not public: metrics and probes."""

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    def probe(ask: Callable[[], str | None]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(_: Request) -> Response:
            fault = ask()
            return Response(fault or "ok", 503 if fault else 200, media_type="text/plain")

        return answer

    return Router(
        [
            Route("/metrics", show_metrics),
            Route("/livez", probe(health.live)),
            Route("/readyz", probe(health.ready)),
        ],
        redirect_slashes=False,
    )


def _model(request: Request) -> Model:
    models: Models = request.state.models
    return models.get(request.path_params["model"], _version(request))


def _version(request: Request) -> int | None:
    text = request.path_params.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidRequest(f"Failed to convert version: {text[:64]} to numeric.")
    return int(text)


def _check_encoding(request: Request) -> None:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMedia(f"Content-Encoding {request.headers['content-encoding']!r} is not spoken here")
    if "inference-header-content-length" in request.headers:
        raise UnsupportedMedia("binary tensors are not spoken here: send the tensors' data as JSON")


async def _aside(size: int, work: Callable[..., T], *args: Any) -> T:
    """Do the work at once, or in a thread if `size` bytes are much."""
    return await asyncio.to_thread(work, *args) if size > _LARGE else work(*args)


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")
