"""One gRPC call, between a stream of HTTP/2 and the application: an ASGI request whose body is the message.

Source: grpc/doc/PROTOCOL-HTTP2.md and statuscodes.md. Streams of several messages are not spoken here.
"""

import asyncio
import logging
import re
from collections.abc import Collection, Iterable
from typing import Final, Protocol
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Scope

from service.net.frames import LONGEST_HEAD
from service.net.incoming import PREFIX, Incoming

Lines = list[tuple[bytes, bytes]]

#: The header by which Envoy tells an application how long it will wait, in milliseconds.
_EXPECTED: Final = b"x-envoy-expected-rq-timeout-ms"
#: What the application is told of a call's metadata: all that it looks at.
_PASSED: Final = frozenset(
    (_EXPECTED, b"authorization", b"baggage", b"traceparent", b"tracestate", b"user-agent", b"x-request-id")
)
_CONTENT: Final = re.compile(rb"application/grpc([+;].*)?")
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
#: Milliseconds.
_UNITS: Final = {b"H": 3.6e6, b"M": 6e4, b"S": 1e3, b"m": 1.0, b"u": 1e-3, b"n": 1e-6}
_HEAD: Final = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_ENCODINGS: Final = (b"grpc-accept-encoding", b"identity,deflate,gzip")
_INTERNAL: Final = 13
#: What the protocol counts for each line of a head besides its bytes; and the answer to a head that is too long.
_LINE: Final = 32
_TOO_LONG: Final = [(b"grpc-status", b"8"), (b"grpc-message", b"the head is longer than %d bytes" % LONGEST_HEAD)]
#: gRPC's by HTTP's. A pod that is full is UNAVAILABLE, as TensorFlow Serving is: clients try that again.
_STATUSES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 413: 3, 415: 3, 429: 14, 501: 12, 503: 14, 504: 4}
#: Bytes of an error's text; in a header they may be three times as many, and clients take 8 KiB of those in all.
_LONGEST_TEXT: Final = 1024
_PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")

_log = logging.getLogger("tfpod.net")


class Peer(Protocol):
    """The connection, as a call sees it."""

    def consumed(self, number: int, size: int) -> None:
        """Let the client of a stream send so many bytes more."""
        ...

    async def answer(self, number: int, head: Lines, body: bytes, trailers: Lines) -> None:
        """Send an answer; without trailers the head is all. Raises TimeoutError if the client does not take it."""
        ...

    def reset(self, number: int) -> None:
        """End a stream, if it has not ended by itself."""
        ...


class Call:
    """A call on the stream of that number; `take` and `end` bring its message, `lose` the end of the stream."""

    def __init__(self, peer: Peer, number: int, headers: Collection[tuple[bytes, bytes]]) -> None:
        self._peer, self._number, self._headers = peer, number, dict(headers)
        #: Bytes of the head, as the protocol counts them.
        self.size = sum(len(name) + len(value) + _LINE for name, value in headers)
        #: In which it is answered.
        self.task: asyncio.Task[None] | None = None
        self._incoming = Incoming(self._headers.get(b"grpc-encoding", b"identity"))
        #: How many bytes of the client's allowance were taken by what has come and was not handed out yet.
        self._unread = 0
        #: The client has been sent all, the application has been handed all, and nobody is there any more.
        self.answered = self._delivered = self._lost = False
        self._waiter: asyncio.Future[None] | None = None
        self._status, self._metadata, self._body = 500, Lines(), b""

    @property
    def whole(self) -> bool:
        """True when the client has sent all."""
        return self._incoming.whole

    async def run(self, app: ASGIApp) -> None:
        """Have the application answer; whatever it does, the stream ends."""
        try:
            if not _CONTENT.fullmatch(self._headers.get(b"content-type", b"")):
                await self._peer.answer(self._number, [(b":status", b"415")], b"", [])
            elif self.size > LONGEST_HEAD:  # by this call alone: its neighbours may be other clients'
                await self._peer.answer(self._number, [*_HEAD, *_TOO_LONG], b"", [])
            else:
                await app(self._scope(), self.receive, self.send)
        except Exception:  # noqa: BLE001 - whatever it is, the stream ends in good order
            _log.exception("the application failed")
        finally:
            self._consumed()
            self._peer.reset(self._number)

    def take(self, data: bytes, size: int) -> None:
        """Take a piece of the message, for which the client was allowed `size` bytes."""
        if not self._delivered:
            self._incoming.arrived += data
        self._unread += size
        self._wake()

    def end(self) -> None:
        """Take note that the client has sent all."""
        self._incoming.whole = True
        self._wake()

    def lose(self) -> None:
        """Take note that the client is gone; what was to be done for it is cancelled."""
        self._lost = True
        self._consumed()
        if self.task:
            self.task.cancel()

    async def receive(self) -> Message:
        """Return the next piece of the message, or, after the last, word that the client is gone (ASGI).

        Raises as Incoming does.
        """
        while not self._lost:
            if not self._delivered and (found := self._incoming.piece()):
                return await self._deliver(*found)
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send the answer when it is complete (ASGI)."""
        if message["type"] == "http.response.start":
            self._status, self._metadata = message["status"], _metadata(message["headers"])
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False) or self._lost:
            return
        if self._status == 200:
            body = len(self._body).to_bytes(PREFIX, "big") + self._body  # a flag of 0, and the length
            await self._peer.answer(self._number, _HEAD, body, [(b"grpc-status", b"0"), *self._metadata])
        else:
            await self._peer.answer(self._number, [*_HEAD, *self._fault(), *self._metadata], b"", [])

    def _scope(self) -> Scope:
        headers = [(name, value) for name, value in self._headers.items() if name in _PASSED]
        if found := _TIMEOUT.fullmatch(self._headers.get(b"grpc-timeout", b"")):
            milliseconds = max(1, min(int(found[1]) * _UNITS[found[2]], 1e9 - 1))
            proxy = self._headers.get(_EXPECTED, b"")  # its time may be the shorter one
            expected = int(proxy[:9]) if proxy.isdigit() else 0
            headers.append((_EXPECTED, b"%d" % min(milliseconds, expected or milliseconds)))
        path = self._headers.get(b":path", b"")  # CONNECT has none
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "2",
            "method": self._headers[b":method"].decode("latin-1"),
            "scheme": "http",
            "path": path.decode("latin-1"),
            "raw_path": path,
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": None,
            "server": None,
        }

    async def _deliver(self, piece: bytes, more: bool) -> Message:
        """Return a piece of the message, and let the client send more once there is nothing left of what it sent."""
        if more:
            if not self._incoming.arrived:
                self._consumed()
            await asyncio.sleep(0)  # a little may be much when it is unpacked
        else:
            self._delivered = True
            self._incoming.arrived.clear()
        return {"type": "http.request", "body": piece, "more_body": more}

    def _fault(self) -> Lines:
        """Return the status of a call that failed; in the text what is not printable is in hexadecimal digits."""
        text = quote(self._body[:_LONGEST_TEXT].decode(errors="ignore"), safe=_PRINTABLE)
        lines = [(b"grpc-status", b"%d" % _STATUSES.get(self._status, _INTERNAL)), (b"grpc-message", text.encode())]
        return [*lines, _ENCODINGS] if self._status == 501 else lines

    def _consumed(self) -> None:
        if self._unread:
            self._peer.consumed(self._number, self._unread)
            self._unread = 0

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


def _metadata(headers: Iterable[tuple[bytes, bytes]]) -> Lines:
    """Return the headers of an answer that a call can have, and in milliseconds when its client may try again."""
    lines = [(name.lower(), value) for name, value in headers]
    pause = [(b"grpc-retry-pushback-ms", value + b"000") for name, value in lines if name == b"retry-after"]
    return [(name, value) for name, value in lines if not name.startswith((b"content-", b"connection"))] + pause
