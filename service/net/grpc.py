"""One gRPC call, between a stream of HTTP/2 and the application: an ASGI request whose body is the message.

Source: grpc/doc/PROTOCOL-HTTP2.md, statuscodes.md and compression.md. Streams of several messages are not spoken here.
"""

import asyncio
import logging
import re
import zlib
from collections.abc import Iterable
from typing import Any, Final, Protocol
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Scope

from service.errors import InvalidRequest, NotSupported

Lines = list[tuple[bytes, bytes]]

#: A message stands behind a byte that says whether it is packed, and its length in four.
_PREFIX: Final = 5
#: What the application is told of a call's metadata: all that it looks at.
_PASSED: Final = frozenset(
    (b"authorization", b"baggage", b"traceparent", b"tracestate", b"user-agent", b"x-request-id")
)
#: The header by which Envoy tells an application how long it will wait, in milliseconds.
_EXPECTED: Final = b"x-envoy-expected-rq-timeout-ms"
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
#: Milliseconds.
_UNITS: Final = {b"H": 3.6e6, b"M": 6e4, b"S": 1e3, b"m": 1.0, b"u": 1e-3, b"n": 1e-6}
_PACKED: Final = (b"gzip", b"deflate")
#: Of what is unpacked at a time.
_STEP: Final = 64 << 10
_HEAD: Final = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_ENCODINGS: Final = (b"grpc-accept-encoding", b"identity,deflate,gzip")
_INTERNAL: Final = 13
#: gRPC's by HTTP's. A pod that is full is UNAVAILABLE, as TensorFlow Serving is: clients try that again.
_STATUSES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 413: 3, 415: 3, 429: 14, 501: 12, 503: 14, 504: 4}
#: Of an error's text, in a header.
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

    def __init__(self, peer: Peer, number: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._peer, self._number, self._headers = peer, number, dict(headers)
        #: What has come and was not asked for yet, and how many bytes of the client's allowance that took.
        self._arrived, self._unread = bytearray(), 0
        #: The client has sent all, and has been sent all.
        self.whole = self.answered = False
        self._lost = False
        self._waiter: asyncio.Future[None] | None = None
        #: Bytes of the message that are still to come, once it has begun.
        self._left: int | None = None
        self._unpacker: Any = None
        self._status, self._metadata, self._body = 500, Lines(), b""

    async def run(self, app: ASGIApp) -> None:
        """Have the application answer; whatever it does, the stream ends."""
        try:
            if self._headers.get(b"content-type", b"").startswith(b"application/grpc"):
                await app(self._scope(), self.receive, self.send)
            else:
                await self._peer.answer(self._number, [(b":status", b"415")], b"", [])
        except Exception:  # noqa: BLE001 - whatever it is, the stream ends in good order
            _log.exception("the application failed")
        finally:
            self._consumed()
            self._peer.reset(self._number)

    def take(self, data: bytes, size: int) -> None:
        """Take a piece of the message, for which the client was allowed `size` bytes."""
        self._arrived += data
        self._unread += size
        self._wake()

    def end(self) -> None:
        """Take note that the client has sent all."""
        self.whole = True
        self._wake()

    def lose(self) -> None:
        """Take note that the client is gone."""
        self._lost = True
        self._wake()

    async def receive(self) -> Message:
        """Return the next piece of the message, an empty one if there is none; or word that the client is gone (ASGI).

        Raises InvalidRequest for one that cannot be unpacked, NotSupported for one packed in a way not known here.
        """
        while not self._lost:
            if self._left is None and len(self._arrived) >= _PREFIX:
                self._begin()
            piece, more = self._next()
            if piece or not more:
                self._consumed()
                return {"type": "http.request", "body": piece, "more_body": more}
            if self.whole:
                break  # amid the message
            self._consumed()
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
            body = len(self._body).to_bytes(_PREFIX, "big") + self._body  # a flag of 0, and the length
            await self._peer.answer(self._number, _HEAD, body, [(b"grpc-status", b"0"), *self._metadata])
        else:
            await self._peer.answer(self._number, [*_HEAD, *self._fault(), *self._metadata], b"", [])

    def _scope(self) -> Scope:
        headers = [(name, value) for name, value in self._headers.items() if name in _PASSED]
        if found := _TIMEOUT.fullmatch(self._headers.get(b"grpc-timeout", b"")):
            milliseconds = min(int(found[1]) * _UNITS[found[2]], 1e9 - 1)
            headers.append((_EXPECTED, b"%d" % max(1, milliseconds)))
        path = self._headers[b":path"]
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

    def _begin(self) -> None:
        """Read the prefix. Raises as `receive` does."""
        packed, self._left = self._arrived[0], int.from_bytes(self._arrived[1:_PREFIX], "big")
        del self._arrived[:_PREFIX]
        encoding = self._headers.get(b"grpc-encoding", b"identity")
        if packed and encoding not in _PACKED:
            raise NotSupported(f"grpc-encoding {encoding.decode('latin-1')[:64]} is not supported")
        self._unpacker = zlib.decompressobj(47) if packed else None  # either form, as its first bytes say

    def _next(self) -> tuple[bytes, bool]:
        """Return what there is of the message, some of it if it is packed, and whether there is more to come."""
        if self._left is None:
            return b"", not self.whole
        piece = b""
        while not piece and (self._arrived or self._tail):
            data = self._tail or self._taken()
            piece = self._unpacked(data) if self._unpacker else data
            if not self._left and not self._tail:
                break
        return piece, bool(self._left or self._tail)

    @property
    def _tail(self) -> bytes:
        """What was taken and is not unpacked yet."""
        return self._unpacker.unconsumed_tail if self._unpacker else b""

    def _taken(self) -> bytes:
        """Take what has come of the message."""
        piece = bytes(self._arrived[: self._left])
        del self._arrived[: len(piece)]
        self._left = (self._left or 0) - len(piece)
        return piece

    def _unpacked(self, data: bytes) -> bytes:
        try:
            piece: bytes = self._unpacker.decompress(data, _STEP)
        except zlib.error as error:
            raise InvalidRequest(f"the message cannot be unpacked: {error}") from None
        if not (self._left or self._tail or self._unpacker.eof):
            raise InvalidRequest("the message cannot be unpacked: its end is missing")
        return piece

    def _fault(self) -> Lines:
        """Return the status of a call that failed; in the text what is not printable is in hexadecimal digits."""
        text = quote(self._body.decode(errors="replace")[:_LONGEST_TEXT], safe=_PRINTABLE)
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
