"""The one route table, and the walk of an inference request behind it on one screen."""

import functools
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.convertors import StringConvertor
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match, Route, Router
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from service import handlers, transcription
from service.codecs import asrt, http, oip, tfserving
from service.door.bodies import LARGE, aside
from service.door.compression import packed, preferred
from service.errors import PermissionDenied, PodError, TooLarge, Unauthenticated
from service.stages import note
from service.types import Call, Reply, Signatures
from service.web import pages
from service.web.openapi import Documents

#: The places of so many paths that are shorter than this are remembered.
_PATHS, _SHORT = 1024, 256
_VERSION: Final = "{version}"
_TFSERVING: Final = "/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"


class Codec(Protocol):
    """A wire format of inference requests; tfserving.py says what the two do."""

    def decode(self, body: bytes, headers: Mapping[bytes, bytes], signatures: Signatures, /) -> Call:
        """Return the call that a request makes; the headers have lower-case names. Raises InvalidRequest."""
        ...

    def encode(self, call: Call, reply: Reply, /) -> tuple[bytes, Mapping[str, str]]:
        """Return the answer's body, and its headers."""
        ...


@dataclass(frozen=True, slots=True)
class Infer:
    """Answers inference requests in one wire format; bare ASGI, for this is what there is to be fast at."""

    codec: Codec
    #: The highest priority that a body may ask for.
    priority: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Walk from the body to the answer; 401, 403, 408, 413, 415 and 429 were settled at the door."""
        headers, deadline = scope["state"]["headers"], scope["state"]["deadline"]
        with handlers.served(scope) as model:  # 404 503
            model.batcher.check(self.priority, deadline)  # 429, before the body is read
            body = (await receive())["body"]
            begun, decode, given = time.monotonic(), self.codec.decode, (body, headers, model.signatures)
            # `aside` alone would do, but a coroutine for next to nothing costs a fiftieth of the request.
            call = decode(*given) if len(body) <= LARGE else await aside(len(body), decode, *given)  # 400
            note("decode", begun)
            outputs = await model.batcher.submit(call, min(deadline, begun + call.seconds))  # 413 429 500 504
        begun, encode, reply = time.monotonic(), self.codec.encode, Reply(outputs, model.name, model.version)
        size = reply.nbytes
        answer, lines = encode(call, reply) if size <= LARGE else await aside(size, encode, call, reply)
        note("encode", begun)
        if b"accept-encoding" in headers and (coding := preferred(headers[b"accept-encoding"].decode("latin-1"))):
            answer, lines = await _packed(answer, lines, coding)
        await send({"type": "http.response.start", "status": 200, "headers": _encoded(answer, lines)})
        await send({"type": "http.response.body", "body": answer})


class Pattern(Route):
    """A route by regular expression in which case does not matter: TensorFlow Serving's are so."""

    def __init__(self, pattern: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__("/", endpoint, **options)
        self.path, self.path_regex = pattern, re.compile(rf"{pattern}\Z", re.IGNORECASE)
        self.param_convertors = dict.fromkeys(self.path_regex.groupindex, StringConvertor())


_predict, _infer = Infer(tfserving), Infer(oip, priority=1)

#: Counted for scaling; the names are the metrics' label values.
INFERENCE: Final = [
    Pattern(f"{_TFSERVING}:predict", _predict, methods=["POST"], name="tfserving_predict"),
    Route("/v2/models/{model}/infer", _infer, methods=["POST"], name="oip_infer"),
    Route(f"/v2/models/{{model}}/versions/{_VERSION}/infer", _infer, methods=["POST"], name="oip_infer"),
    Route("/v1/transcribe", transcription.transcribe, methods=["POST"]),
    Route("/v1/stream", transcription.stream_piece, methods=["POST"]),
    Route("/speech", transcription.asrt_speech, methods=["POST"]),
    Route("/language", transcription.asrt_language, methods=["POST"]),
    Route("/all", transcription.asrt_all, methods=["POST"]),
]
#: Inference by those who bring their token in the body; the handler tells the door when one may be counted.
STRANGERS: Final = [
    Route("/", transcription.asrt_root, methods=["POST"]),
]
#: Open to those without a token.
OPEN: Final = [
    Route("/", pages.home),
    Route("/page/{file}", pages.static),
    Route("/docs", pages.docs),
    Route("/openapi.json", pages.openapi),
    Route("/v2/health/live", handlers.oip_live),
    Route("/v2/health/ready", handlers.oip_ready),
]
CLOSED: Final = [
    Pattern(_TFSERVING, handlers.tfserving_status),
    Pattern(f"{_TFSERVING}/metadata", handlers.tfserving_metadata),
    Route("/v2", handlers.oip_server),
    Route("/v2/models/{model}", handlers.oip_model),
    Route(f"/v2/models/{{model}}/versions/{_VERSION}", handlers.oip_model),
    Route("/v2/models/{model}/ready", handlers.oip_model_ready),
    Route(f"/v2/models/{{model}}/versions/{_VERSION}/ready", handlers.oip_model_ready),
    Route("/v2/models/{model}/config", handlers.oip_config),
    Route(f"/v2/models/{{model}}/versions/{_VERSION}/config", handlers.oip_config),
    Route("/v2/repository/index", handlers.oip_index, methods=["POST"]),
    Route("/v2/repository/models/{model}/load", handlers.oip_load, methods=["POST"]),
    Route("/v2/repository/models/{model}/unload", handlers.oip_load, methods=["POST"]),
]


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the table, as the door and the app want it; see admission.py."""

    route: Route
    is_open: bool = False
    inference: str | None = None
    binary: bool = False


def find(scope: Scope) -> Place:
    """Return the place of a request in the table; the scope is given its `route`, and the path's parameters."""
    method, path = scope["method"], scope["path"]
    place, found = (_find if len(path) < _SHORT else _find.__wrapped__)(method, path)
    scope.update(found)
    return place


def respond(scope: Scope, error: PodError) -> Response:
    """Return the answer that tells of `error`."""
    name = scope["route"].name if "route" in scope else ""
    if name == "asrt_root" and isinstance(error, Unauthenticated | PermissionDenied):
        return PlainTextResponse("403", 403)  # in the words of ASRT's old API
    if name in transcription.WHOLE and isinstance(error, TooLarge):
        error = TooLarge(f"{error}; send long audio in pieces to /v1/stream")
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    body = asrt.encode_error(error) if name.startswith("asrt_") else http.encode_error(str(error))
    return Response(body, http.status_of(error), headers, "application/json")


def api(lifespan: Lifespan[Any], version: str, **parts: object) -> ASGIApp:
    """Return the API as an application behind the door, which has found the route.

    `parts` are what the handlers find in their request's state: `models`, `health`, `sessions` and their
    `owner`, the `decoder` of files of audio, and the door's `authorize`. It raises PodError for what it refuses; the
    door answers.
    """
    return behind(Router(lifespan=lifespan), {**parts, "version": version, "documents": Documents(PLACES, version)})


def behind(router: Router, state: Mapping[str, object]) -> ASGIApp:
    """Return an application for requests whose route the door has found; all else of ASGI is the router's."""
    state = {"small": handlers.small_room(), **state}

    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return router(scope, receive, send)
        scope.setdefault("state", {}).update(state)
        found: ASGIApp = scope["route"].app
        return found(scope, receive, send)

    return app


async def _nowhere(request: Request) -> Response:
    raise handlers.unknown(request.method, request.scope["path"])


async def _wrong_method(request: Request) -> Response:
    allow = ", ".join(sorted(set().union(*request.scope["allowed"])))
    error = f"Malformed request: {request.method} {request.scope['path']}; the method may be {allow}"
    return Response(http.encode_error(error), 405, {"Allow": allow}, "application/json")


async def _packed(body: bytes, headers: Mapping[str, str], coding: str) -> tuple[bytes, Mapping[str, str]]:
    """Return the answer as the client takes it; it is packed a few times more slowly than it was written."""
    smaller = await aside(4 * len(body), packed, body, coding)
    if smaller is None:
        return body, headers
    return smaller, {**headers, "Content-Encoding": coding, "Vary": "Accept-Encoding"}


def _encoded(body: bytes, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    lines = _JSON if headers is http.JSON else _lines(headers)
    return [*lines, (b"content-length", b"%d" % len(body))]


def _lines(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


_JSON: Final = _lines(http.JSON)


@functools.lru_cache(_PATHS)
def _find(method: str, path: str) -> tuple[Place, Mapping[str, Any]]:
    """Return the place, and what is to be known of the request; most ask for the same few."""
    allowed: list[Sequence[str]] = []
    for place in PLACES:
        match, found = place.route.matches({"type": "http", "method": method, "path": path})
        if match is Match.FULL:
            return place, {**found, "route": place.route}
        if match is Match.PARTIAL:
            allowed.append(sorted(place.route.methods or ()))
    return _NOWHERE, {"route": _WRONG_METHOD.route if allowed else _NOWHERE.route, "allowed": allowed}


#: The table.
PLACES: Final = [
    *(Place(route, inference=route.name, binary=route.endpoint is _infer) for route in INFERENCE),
    *(Place(route, is_open=True, inference=route.name) for route in STRANGERS),
    *(Place(route, is_open=True) for route in OPEN),
    *(Place(route) for route in CLOSED),
]
_NOWHERE = Place(Route("/", _nowhere, name="nowhere"))
_WRONG_METHOD = Place(Route("/", _wrong_method, name="wrong_method"))
