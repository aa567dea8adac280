"""One request and its answer, between a connection and the application (ASGI 3.0, HTTP).

Head and body of an answer go out in one write if they come one after the other: a write of its own for each would cost
a quarter of what the whole HTTP takes.
"""

import asyncio
import logging
from collections.abc import Sequence
from http.client import responses
from typing import Final, Protocol

from starlette.types import ASGIApp, Message, Scope

#: Bytes of a body that wait to be taken before no more are read.
HIGH_WATER: Final = 64 << 10
#: A longer piece of body is not copied to stand behind the head.
_LONG: Final = 64 << 10
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
#: Their answers have no body (RFC 9110, section 6.4.1).
_BODILESS: Final = frozenset((204, 304))
#: There are none in a head but those between its lines.
_BREAKS: Final = b"\r\n\0"
_FAILED: Final = b'{"error":"internal error"}'

_log = logging.getLogger("tfpod.net")


def status_line(status: int) -> bytes:
    """Return the first line of an answer, without its end."""
    return b"HTTP/1.1 %d %b" % (status, responses.get(status, "").encode())


def lines_of(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the lines of a head. Raises RuntimeError if what is in a header would be read as more than that."""
    lines = b"\r\n".join([*map(b": ".join, headers), b""])  # no loop in Python: that takes twice the time
    if len(lines) - len(lines.translate(None, _BREAKS)) != 2 * len(headers):
        raise RuntimeError("a header of the answer has a line break or a zero byte in it")
    return lines


class Peer(Protocol):
    """The connection, as an exchange sees it."""

    transport: asyncio.Transport
    #: While the client does not read what is written to it: what is done when it does.
    drained: asyncio.Future[None] | None

    @property
    def defaults(self) -> bytes:
        """The lines of every answer's headers."""
        ...

    def pause_reading(self) -> None:
        """Read no more for now."""
        ...

    def resume_reading(self) -> None:
        """Read again."""
        ...

    def answered(self, exchange: "Exchange") -> None:
        """Go on: the answer was written."""
        ...


class Exchange:
    """The request's head is `scope`; `take` and `end` bring its body, `lose` the end of its connection."""

    __slots__ = (
        *("_body", "_chunked", "_delivered", "_expects", "_head", "_left", "_lost", "_peer", "_waiter"),
        *("answered", "keep_alive", "scope", "started", "whole"),
    )

    def __init__(self, peer: Peer, scope: Scope, *, keep_alive: bool, expects: bool) -> None:
        """Begin; a client that `expects` it sends its body only when it is told to continue."""
        self._peer, self.scope, self.keep_alive, self._expects = peer, scope, keep_alive, expects
        #: Whether the request's body has come, the answer has begun, and is written.
        self.whole = self.started = self.answered = False
        self._body: bytes | bytearray = b""
        self._delivered = self._lost = False
        self._waiter: asyncio.Future[None] | None = None
        self._head, self._left, self._chunked = b"", 0, False

    async def run(self, app: ASGIApp) -> None:
        """Have the app answer; whatever it does, the client is told, or its connection ends."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:  # noqa: BLE001 - whatever it is, the connection ends in good order
            _log.exception("the application failed")
        if self.answered or self._lost:
            return
        if self.started:
            self._peer.transport.abort()  # the client must not take what it has for the whole answer
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_FAILED))]
        self._start({"status": 500, "headers": [*headers, (b"connection", b"close")]})
        self._continue({"body": _FAILED})

    def take(self, data: bytes) -> None:
        """Take a piece of the body, which is forgotten if the answer did not need it."""
        if self.answered:
            return
        if not self._body:
            self._body = data
        else:
            self._body = self._body if isinstance(self._body, bytearray) else bytearray(self._body)
            self._body += data
        if len(self._body) > HIGH_WATER:
            self._peer.pause_reading()
        self._wake()

    def end(self) -> None:
        """Take note that the body has come."""
        self.whole = True
        self._wake()

    def lose(self) -> None:
        """Take note that the client is gone."""
        self._lost = True
        self._wake()

    async def receive(self) -> Message:
        """Return the next piece of the body, or, after the last, word that client or answer are gone (ASGI)."""
        if self._expects and not (self.started or self._lost):
            self._peer.transport.write(_CONTINUE)
        self._expects = False
        while not (self._body or self._lost or self.answered or (self.whole and not self._delivered)):
            self._peer.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._lost or self.answered:
            return {"type": "http.disconnect"}
        body, self._body = self._body, b""
        self._delivered = self.whole
        return {"type": "http.request", "body": bytes(body), "more_body": not self.whole}

    async def send(self, message: Message) -> None:
        """Write a part of the answer (ASGI). Raises RuntimeError for one that HTTP does not allow."""
        while self._peer.drained:
            await self._peer.drained
        if self._lost:
            return
        if self.started and not self.answered and message["type"] == "http.response.body":
            self._continue(message)
        elif not self.started and message["type"] == "http.response.start":
            self._start(message)
        else:
            raise RuntimeError(f"{message['type']} is out of order")

    def _start(self, message: Message) -> None:
        """Put the head together, which waits for the first piece of body."""
        status, headers = message["status"], [*message.get("headers", ())]
        given = dict(headers)
        length = int(given.get(b"content-length", -1))
        if b"connection" in given:
            closes = any(name == b"connection" and b"close" in value.lower() for name, value in headers)
            self.keep_alive = self.keep_alive and not closes
            headers = [header for header in headers if header[0] != b"connection"]
        if self._expects:  # and was told nothing: nobody knows whether its body comes (RFC 9110, section 10.1.1)
            self.keep_alive = False
        if not self.keep_alive:
            headers.append((b"connection", b"close"))
        bodiless = self.scope["method"] == "HEAD" or status in _BODILESS
        # Where there are no chunks, the end of the connection ends a body of unknown length.
        chunked = length < 0 and not bodiless and self.scope["http_version"] != "1.0"
        if chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        first = _STATUS_LINES.get(status) or status_line(status)
        lines = lines_of(headers)
        self.started, self._chunked, self._left = True, chunked, 0 if bodiless else length
        self._head = b"%b\r\n%b%b\r\n" % (first, self._peer.defaults, lines)

    def _continue(self, message: Message) -> None:
        """Write a piece of body, and what has waited for it."""
        body, more = message.get("body", b""), message.get("more_body", False)
        if more or len(body) != self._left:
            body = self._framed(body, more=more)
        if self._head and len(body) <= _LONG:
            body = self._head + body
        elif self._head:
            self._peer.transport.write(self._head)
        self._head = b""
        if body:
            self._peer.transport.write(body)
        if not more:
            # Nothing of a request is kept until the next one comes on its connection.
            self.answered, self.scope, self._body = True, {}, b""
            self._wake()
            self._peer.answered(self)

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        """Return what is written of a piece of body that is not all of it."""
        if self._chunked:
            return b"%b%b" % (b"%x\r\n%b\r\n" % (len(body), body) if body else b"", b"" if more else b"0\r\n\r\n")
        if self._left >= 0:
            body = b"" if self.scope["method"] == "HEAD" else body
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the answer's body is not as long as its content-length")
        return body

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


_STATUS_LINES: Final = {int(status): status_line(status) for status in responses}
