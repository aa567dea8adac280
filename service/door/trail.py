"""The trail of a request: its id, in the answer and in every log line; what it took, if anybody wants to know.

Pure ASGI, the outermost layer: what the door refuses has an id too.
"""

import itertools
import logging
import os
import re
import time
from collections.abc import Awaitable
from typing import Final, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from service import logs, stages
from service.door.answer import Answer
from service.stages import Stage

HEADER: Final = b"x-request-id"

_log = logging.getLogger("tfpod.access")
_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
#: W3C Trace Context, level 1, section 3.2: version, trace, parent, flags.
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class Span(Protocol):
    """What a tracer makes of one request."""

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to, 32 hexadecimal digits."""
        ...

    def end(self, scope: Scope, status: int, stages: list[Stage]) -> None:
        """Take note of the end; called once."""
        ...


class Tracer(Protocol):
    """Begins a span for each request; see tracing.py."""

    def begin(self, scope: Scope) -> Span:
        """Return the span of a request whose head was read."""
        ...

    def close(self) -> None:
        """Send what is to be sent, or give it up after a while."""
        ...


class Trail:
    """ASGI middleware. `access_log`: one log line for each answer; `tracer`: spans."""

    def __init__(self, app: ASGIApp, *, access_log: bool = False, tracer: Tracer | None = None) -> None:
        self._app, self._access_log, self._tracer = app, access_log, tracer
        # As unique as random numbers, and cheaper.
        self._prefix, self._numbers = os.urandom(8).hex().encode(), itertools.count(1)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Give the request the id that it came with, if that is one, else a new one."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        headers = dict(scope["headers"])
        request_id = headers.get(HEADER, b"")
        if not (request_id and _ID.fullmatch(request_id)):
            request_id = b"%s-%x" % (self._prefix, next(self._numbers))
        about = {"request_id": request_id.decode()}
        if b"traceparent" in headers and (found := _TRACEPARENT.fullmatch(headers[b"traceparent"])):
            about["trace_id"] = found[1].decode()
        logs.about.set(about)
        answer = Answer(send, (HEADER, request_id))
        app = self._follow if self._access_log or self._tracer else self._app
        return app(scope, receive, answer)

    async def _follow(self, scope: Scope, receive: Receive, answer: Answer) -> None:
        """Run the app, and tell what it did."""
        noted, begun = stages.watch(), time.monotonic()
        span = self._tracer.begin(scope) if self._tracer else None
        if span:
            logs.about.set({**logs.about.get(), "trace_id": span.trace_id})
        try:
            await self._app(scope, receive, answer)
        finally:
            if span:
                span.end(scope, answer.status, noted)
            if self._access_log:
                _log.info("request", extra=_line(scope, answer, time.monotonic() - begun, noted))


def _line(scope: Scope, answer: Answer, seconds: float, noted: list[Stage]) -> dict[str, object]:
    """Return the fields of an access line; the parts of a request that was computed in several are added up."""
    shares: dict[str, float] = {}
    for stage in noted:
        shares[stage.name] = shares.get(stage.name, 0.0) + stage.ended - stage.begun
    return {
        "method": scope["method"],
        "path": scope["path"],
        "route": getattr(scope.get("route"), "name", ""),
        "status": answer.status,
        "bytes": answer.size,
        "milliseconds": round(1000 * seconds, 3),
        "stages": {name: round(1000 * share, 3) for name, share in shares.items()},
    }
