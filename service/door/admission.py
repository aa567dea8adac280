"""The door: who may in, how much, how many at once and for how long. Pure ASGI around the app.

Everything that can be decided from the head of a request is decided before its body is read: a refusal costs no memory.
An inference request keeps its place, and its deadline runs, until its answer has been sent.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from service.door.answer import UNANSWERED, Answer
from service.door.bodies import Body, Room
from service.door.compression import coding_of
from service.door.deadlines import Deadline, Deadlines
from service.errors import (
    DeadlineExceeded,
    IncompleteRequest,
    ModelFailed,
    NotReady,
    Overloaded,
    PermissionDenied,
    PodError,
    TooLarge,
    Unauthenticated,
)
from service.metrics import OTHER, Metrics

#: What Envoy will wait for an answer, in milliseconds: no use in computing longer.
EXPECTED_TIMEOUT: Final = b"x-envoy-expected-rq-timeout-ms"
#: How much of a body with binary tensors is JSON (codecs/oip.py).
JSON_LENGTH: Final = b"inference-header-content-length"

#: Those who bring their token in the body have one of so many places, a body of so many bytes, and room for four.
_STRANGERS: Final = 16
_STRANGERS_BODY: Final = 4 << 20

Headers = dict[bytes, bytes]

_log = logging.getLogger("tfpod.admission")
_REASONS: Final[dict[type[PodError], str]] = {
    Unauthenticated: "unauthenticated",
    PermissionDenied: "permission_denied",
    TooLarge: "too_large",
    IncompleteRequest: "incomplete",
    Overloaded: "overloaded",
    NotReady: "not_ready",
    DeadlineExceeded: "deadline",
}


class Place(Protocol):
    """What the route table says of a request."""

    @property
    def is_open(self) -> bool:
        """Tell whether no token is needed; of inference, that the handler looks for one in the body."""
        ...

    @property
    def inference(self) -> str | None:
        """Return the name of the route if it asks for inference."""
        ...

    @property
    def binary(self) -> bool:
        """Tell whether there may be binary tensors in the body."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What an inference request may have: bytes of body, alone and with its neighbours in flight, seconds."""

    #: Of JSON, which takes many times the room once it is read; and of a body with binary tensors, which do not.
    body_bytes: int
    binary_bytes: int
    inflight_bytes: int
    inflight: int
    seconds: float


class Admission:
    """ASGI middleware.

    `find` looks the request up in the route table, and leaves in its scope what the app needs of that; `authorize`
    raises for an Authorization header that lets nobody in; `respond` makes the answer to an error, in the form of the
    protocol that the path is of; `beside` is another door to the same models, whose requests take the same room.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        metrics: Metrics,
        authorize: Callable[[bytes], None],
        find: Callable[[Scope], Place],
        respond: Callable[[Scope, PodError], ASGIApp],
        beside: "Admission | None" = None,
    ) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._authorize, self._find, self._respond = authorize, find, respond
        self.room: Final[Room] = beside.room if beside else Room(limits.inflight_bytes, limits.inflight)
        self._deadlines = Deadlines()
        self._strangers = Room(4 * _STRANGERS_BODY, max(1, limits.inflight // _STRANGERS))
        if not beside:
            metrics.watch("tfpod_inflight_requests", lambda: self.inflight)

    @property
    def inflight(self) -> int:
        """Inference requests that have a place."""
        return self.room.places_taken + self._strangers.places_taken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or refuse it; to be cancelled when the caller is gone."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        headers: Headers = dict(scope["headers"])
        place = self._find(scope)
        answer = send if isinstance(send, Answer) else Answer(send)  # which somebody further out watches
        try:
            if not place.is_open:
                self._authorize(headers.get(b"authorization", b""))
            if place.inference is None:
                await self._app(scope, receive, answer)
            else:
                await self._attend(scope, receive, answer, place, headers)
        except asyncio.CancelledError:
            answer.status = UNANSWERED
            self._metrics.rejected("client_gone")
            raise
        except PodError as error:
            if type(error) in _REASONS:
                self._metrics.rejected(_REASONS[type(error)])
            if isinstance(error, ModelFailed):  # the model's thread has told why, but not for whom
                _log.warning("a request failed with the model", extra={"reason": str(error)})
            await self._refuse(scope, receive, answer, error)
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer
            _log.exception("unexpected error", extra={"path": scope["path"]})
            await self._refuse(scope, receive, answer, PodError("internal error"))
        finally:
            self._metrics.answered(place.inference or OTHER, answer.status, time.monotonic() - begun)

    async def _attend(self, scope: Scope, receive: Receive, answer: Answer, place: Place, headers: Headers) -> None:
        """See to a request for inference, as long as its deadline lasts."""
        route, room, state = place.inference or OTHER, self.room, scope.setdefault("state", {})
        if place.is_open:
            room, state["arrived"] = self._strangers, functools.partial(self._metrics.arrived, route)
        else:
            self._metrics.arrived(route)
        body = self._body(scope, place, headers, room)
        deadline = time.monotonic() + self._seconds(headers)
        state["headers"], state["deadline"], state["take"] = headers, deadline, body.take
        try:
            with body, Deadline(self._deadlines, deadline):
                await self._app(scope, functools.partial(body.whole, receive), answer)
        except TimeoutError:
            if not body.complete:
                raise IncompleteRequest("the body did not arrive in time") from None
            raise DeadlineExceeded("the request's time was over before it was answered") from None

    def _body(self, scope: Scope, place: Place, headers: Headers, room: Room) -> Body:
        """Return the body to come, as the head tells of it. Raises TooLarge, UnsupportedMedia."""
        length, longest = headers.get(b"content-length", b""), self._limits.body_bytes
        if place.binary and (json := headers.get(JSON_LENGTH, b"")).isdigit() and len(json) < 16:
            longest = self._limits.binary_bytes if int(json) <= longest else longest
        return Body(
            room,
            longest=min(longest, _STRANGERS_BODY) if place.is_open else longest,
            declared=int(length[-20:]) if length.isdigit() else 0,  # more can only be zeros in front
            coding=_coding(scope) if b"content-encoding" in headers else None,
        )

    def _seconds(self, headers: Headers) -> float:
        """Return the request's time: the setting's, or less if the proxy in front will not wait that long."""
        if not headers.get(EXPECTED_TIMEOUT, b"").isdigit():
            return self._limits.seconds
        milliseconds = int(headers[EXPECTED_TIMEOUT][:9])
        return min(self._limits.seconds, milliseconds / 1000) if milliseconds else self._limits.seconds

    async def _refuse(self, scope: Scope, receive: Receive, answer: Answer, error: PodError) -> None:
        """Answer with the error; an answer that was begun is broken off instead, the server closes its connection."""
        if not answer.started:
            await self._respond(scope, error)(scope, receive, answer)


def _coding(scope: Scope) -> str | None:
    """Return how the body is packed. Raises UnsupportedMedia."""
    return coding_of(b",".join(value for name, value in scope["headers"] if name == b"content-encoding"))
