"""The door: who may in, how much, how many at once and for how long. Pure ASGI around the app.

Everything that can be decided from the head of a request is decided before its body is read: a refusal costs no memory.
An inference request keeps its place, and its deadline runs, until its answer has been sent.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import (
    DeadlineExceeded,
    IncompleteRequest,
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


class Classify(Protocol):
    """What the route table says of a request: whether it is open to all, and which inference route it is, if one."""

    def __call__(self, scope: Scope, /) -> tuple[bool, str | None]:
        """Return (open, route)."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What an inference request may have: bytes of body, alone and with its neighbours in flight, seconds."""

    body_bytes: int
    inflight_bytes: int
    inflight: int
    seconds: float


class Admission:
    """ASGI middleware.

    `authorize` raises for an Authorization header that lets nobody in; `respond` makes the answer to an error, in the
    form of the protocol that the path is of.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        metrics: Metrics,
        authorize: Callable[[bytes], None],
        classify: Classify,
        respond: Callable[[Scope, PodError], ASGIApp],
    ) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._authorize, self._classify, self._respond = authorize, classify, respond
        self.inflight = self._inflight_bytes = 0
        metrics.watch("tfpod_inflight_requests", lambda: self.inflight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        route: str | None = None
        answer = _Answer(send, closes=bool(_header(scope, b"expect")))
        try:
            is_open, route = self._classify(scope)
            if not is_open:
                self._authorize(_header(scope, b"authorization"))
            if route is None:
                await self._app(scope, receive, answer)
            else:
                self._metrics.arrived(route)
                await self._attend(scope, receive, answer, begun + self._seconds(scope))
        except _CallerGone:
            answer.status = 499
            self._metrics.rejected("client_gone")
        except PodError as error:
            if type(error) in _REASONS:
                self._metrics.rejected(_REASONS[type(error)])
            await self._refuse(scope, receive, answer, error)
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer
            _log.exception("unexpected error", extra={"path": scope["path"]})
            await self._refuse(scope, receive, answer, PodError("internal error"))
        finally:
            self._metrics.answered(route or OTHER, answer.status, time.monotonic() - begun)

    def _claim(self, size: int) -> int:
        """Take room for so many bytes of a body, which are in memory until their request has been answered."""
        if self._inflight_bytes + size > self._limits.inflight_bytes:
            raise Overloaded(f"the bodies in flight fill the {self._limits.inflight_bytes} bytes there are for them")
        self._inflight_bytes += size
        return size

    def _seconds(self, scope: Scope) -> float:
        """Return the request's time: the setting's, or less if the proxy in front will not wait that long."""
        expected = _header(scope, EXPECTED_TIMEOUT)
        milliseconds = int(expected[:9]) if expected.isdigit() else 0
        return min(self._limits.seconds, milliseconds / 1000) if milliseconds else self._limits.seconds

    async def _attend(self, scope: Scope, receive: Receive, answer: "_Answer", deadline: float) -> None:
        """Hold a place in flight from here to the end of the answer, as long as the deadline and the caller last."""
        length = _header(scope, b"content-length")
        size = int(length) if length.isdigit() else 0
        if size > self._limits.body_bytes:
            raise self._too_large()
        if self.inflight >= self._limits.inflight:
            raise Overloaded(f"{self.inflight} requests are in flight, as many as this pod takes")
        body = _Body(self._claim(size))
        self.inflight += 1
        try:
            async with asyncio.timeout_at(deadline):
                answer.closes = False
                content = await self._read(receive, body)
                scope.setdefault("state", {})["deadline"] = deadline
                await self._run(scope, content, receive, answer)
        except TimeoutError:
            if not body.complete:
                raise IncompleteRequest("the body did not arrive in time") from None
            raise DeadlineExceeded("the request's time was over before it was answered") from None
        finally:
            self.inflight -= 1
            self._inflight_bytes -= body.claimed

    async def _run(self, scope: Scope, body: bytes, receive: Receive, answer: "_Answer") -> None:
        """Run the app on a body that was read, and stop it when the caller goes away."""
        task = asyncio.current_task()
        gone = asyncio.ensure_future(receive())
        messages: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])
        left = False

        def stop(_: object) -> None:
            nonlocal left
            if task and not gone.cancelled() and not answer.complete:
                left = task.cancel()

        async def replay() -> Message:
            return next(messages, {}) or await asyncio.shield(gone)

        gone.add_done_callback(stop)
        try:
            await self._app(scope, replay, answer)
        except asyncio.CancelledError:
            if not (left and task):
                raise
            task.uncancel()
            raise _CallerGone from None
        finally:
            gone.cancel()

    async def _refuse(self, scope: Scope, receive: Receive, answer: "_Answer", error: PodError) -> None:
        """Answer with the error; an answer that was begun is broken off instead, the server closes its connection."""
        if not answer.started:
            await self._respond(scope, error)(scope, receive, answer)

    async def _read(self, receive: Receive, body: "_Body") -> bytes:
        """Return the body, read no further than it may be long; without a declared length it takes room as it comes."""
        chunks, size = [], 0
        while not body.complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _CallerGone
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._limits.body_bytes:
                raise self._too_large()
            body.claimed += self._claim(max(0, size - body.claimed))
            body.complete = not message.get("more_body", False)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is longer than {self._limits.body_bytes} bytes")


class _CallerGone(Exception):
    """The connection was closed by the other side."""


@dataclass(slots=True)
class _Body:
    """How much room a body was given, and whether all of it is there."""

    claimed: int
    complete: bool = False


class _Answer:
    """The ASGI `send` of one request, which remembers how far the answer has got.

    While it `closes`, the answer ends the connection: a client that waits for `100 Continue` and is refused instead may
    or may not send its body, so nobody can tell where its next request begins (RFC 9110, section 10.1.1).
    """

    def __init__(self, send: Send, *, closes: bool) -> None:
        self._send, self.closes = send, closes
        self.status = 500
        self.started = self.complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
            if self.closes:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await self._send(message)
        self.complete = message["type"] == "http.response.body" and not message.get("more_body", False)


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")
