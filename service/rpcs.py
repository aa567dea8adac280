"""The table of the gRPC calls, and the walk of one that asks for inference: the same doors, models and batches as HTTP.

Each call is an HTTP request to `/package.Service/Method`, as which it stands in the table; net/grpc.py makes it one.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from service.codecs import http
from service.codecs.grpc import oip, oipmodels, tfserving, wire
from service.codecs.grpc.wire import Fields
from service.door.bodies import Room, aside
from service.errors import NotFound, NotSupported, PodError
from service.handlers import small_body
from service.models.models import Model
from service.routes import Place, behind
from service.stages import note
from service.types import Call, Reply, Signatures

_TFSERVING: Final = "/tensorflow.serving"
_OIP: Final = "/inference.GRPCInferenceService"
#: The message of a call that needs no token may take so long to come; it mostly comes with the head.
_OPEN_SECONDS: Final = 1.0


class Codec(Protocol):
    """A form of inference requests; tfserving.py and oip.py are the two."""

    def model_of(self, request: Fields, /) -> tuple[str, int | None, str | None]:
        """Return name, version and label of the model that is asked. Raises InvalidRequest."""
        ...

    def decode(self, request: Fields, signatures: Signatures, /) -> Call:
        """Return the call that a request makes. Raises InvalidRequest."""
        ...

    def encode(self, call: Call, reply: Reply, /) -> bytes:
        """Return the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Infer:
    """Answers calls for inference; bare ASGI."""

    codec: Codec
    #: The highest priority that a call may ask for.
    priority: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Walk from the message to the answer, as routes.py does; the model's name is in the message."""
        state = scope["state"]
        body = (await receive())["body"]
        begun = time.monotonic()
        request = await aside(len(body), wire.load, memoryview(body))  # 400
        note("parse", begun)
        with state["models"].get(*self.codec.model_of(request)) as model:  # 404 503
            model.batcher.check(self.priority, state["deadline"])  # 429
            begun = time.monotonic()
            call = await aside(len(body), self.codec.decode, request, model.signatures)  # 400
            note("decode", begun)
            deadline = min(state["deadline"], begun + call.seconds)
            outputs = await model.batcher.submit(call, deadline)  # 413 429 500 504
        begun, reply = time.monotonic(), Reply(outputs, model.name, model.version)
        answer = await aside(reply.nbytes, self.codec.encode, call, reply)
        note("encode", begun)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})


async def _tfserving_status(request: Request) -> Response:
    return Response(tfserving.encode_status(request.state.models.states(*tfserving.model_of(await _message(request)))))


async def _tfserving_metadata(request: Request) -> Response:
    message = await _message(request)
    model = request.state.models.get(*tfserving.model_of(message))
    tfserving.decode_metadata(message)
    return Response(tfserving.encode_metadata(model.name, model.version, model.signatures))


async def _oip_server(request: Request) -> Response:
    return Response(oipmodels.encode_server("tfpod", request.state.version))


async def _oip_live(_: Request) -> Response:
    return Response(oipmodels.encode_flag(flag=True))


async def _oip_ready(request: Request) -> Response:
    return Response(oipmodels.encode_flag(flag=request.state.health.ready() is None))


async def _oip_model_ready(request: Request) -> Response:
    await _served(request)
    return Response(oipmodels.encode_flag(flag=True))


async def _oip_model(request: Request) -> Response:
    model = await _served(request)
    versions = [state.version for state in request.state.models.states(model.name) if state.ready]
    return Response(oipmodels.encode_model(model.name, model.platform, versions, model.signatures))


async def _oip_config(request: Request) -> Response:
    model = await _served(request)
    return Response(oipmodels.encode_config(model.name, model.platform, model.batcher.most_rows, model.signatures))


async def _oip_index(request: Request) -> Response:
    states, ready = request.state.models.index(), oipmodels.decode_index(await _message(request))
    return Response(oipmodels.encode_index(state for state in states if state.ready or not ready))


async def _health(request: Request) -> Response:
    """Tell of the whole pod; the names of its models are no services (gRPC's health checking protocol)."""
    message = wire.load(memoryview(await small_body(request, _OPEN_SECONDS)))
    if name := wire.last(message, 1, ""):
        raise NotFound(f"health is told of the service '', not of {name[:256]!r}")
    return Response(oipmodels.encode_health(ready=request.state.health.ready() is None))


async def _unknown(request: Request) -> Response:
    raise NotSupported(f"no such method is served here: {request.scope['path'][:256]}")


def _place(path: str, endpoint: Callable[..., Any], name: str = "", *, is_open: bool = False) -> tuple[str, Place]:
    return path, Place(Route(path, endpoint, methods=["POST"], name=name), is_open, inference=name or None)


PLACES: Final = dict(
    [
        _place(f"{_TFSERVING}.PredictionService/Predict", Infer(tfserving), "tfserving_grpc_predict"),
        _place(f"{_TFSERVING}.PredictionService/GetModelMetadata", _tfserving_metadata),
        _place(f"{_TFSERVING}.ModelService/GetModelStatus", _tfserving_status),
        _place(f"{_OIP}/ModelInfer", Infer(oip, priority=1), "oip_grpc_infer"),
        _place(f"{_OIP}/ModelMetadata", _oip_model),
        _place(f"{_OIP}/ModelReady", _oip_model_ready),
        _place(f"{_OIP}/ModelConfig", _oip_config),
        _place(f"{_OIP}/RepositoryIndex", _oip_index),
        _place(f"{_OIP}/ServerMetadata", _oip_server),
        _place(f"{_OIP}/ServerLive", _oip_live, is_open=True),
        _place(f"{_OIP}/ServerReady", _oip_ready, is_open=True),
        _place("/grpc.health.v1.Health/Check", _health, is_open=True),
    ]
)
_NOWHERE: Final = Place(Route("/", _unknown, methods=["POST"], name="nowhere"))


def find(scope: Scope) -> Place:
    """Return the place of a call in the table; the scope is given its `route`."""
    place = PLACES.get(scope["path"], _NOWHERE)
    scope["route"] = place.route
    return place


def respond(_: Scope, error: PodError) -> Response:
    """Return the answer that tells of `error`: its text is the call's status' message."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return PlainTextResponse(str(error), http.status_of(error), headers)


def api(version: str, **parts: object) -> ASGIApp:
    """Return the calls as an application behind the door; see routes.api."""
    # Calls are bounded where they come in: of a bound on their short messages besides, some could take all from others.
    return behind(Router(), {**parts, "version": version, "small": Room(sys.maxsize, sys.maxsize)})


async def _message(request: Request) -> Fields:
    return wire.load(memoryview(await small_body(request)))


async def _served(request: Request) -> Model:
    """Return the model that a message of the Open Inference Protocol names."""
    model: Model = request.state.models.get(*oip.model_of(await _message(request)))
    return model
