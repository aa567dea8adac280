"""A well-behaved keep-alive HTTP/1.1 client that hides nothing: it obeys `Connection: close` and never retries."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools


class Target(NamedTuple):
    """Where to connect, and the whole request to send there."""

    host: str
    port: int
    request: bytes


def post(url: str, body: bytes = b"", headers: Sequence[str] = ()) -> Target:
    """Make the target of a POST of `body` as JSON, or of a GET without one, to an http:// address."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise ValueError(f"{url!r} is not an http:// address")
    named = {line.partition(":")[0].lower() for line in headers}
    lines = [f"{'POST' if body else 'GET'} {parts.path or '/'} HTTP/1.1", *headers]
    if "host" not in named:
        lines.append(f"Host: {parts.netloc}")
    if body:
        lines += [f"Content-Length: {len(body)}", *(["Content-Type: application/json"] * ("content-type" not in named))]
    return Target(parts.hostname, parts.port or 80, "\r\n".join([*lines, "", ""]).encode() + body)


class LostError(Exception):
    """The connection ended before the whole answer had come."""

    def __init__(self, *, answering: bool) -> None:
        super().__init__("cut" if answering else "reset")


class Connection(asyncio.Protocol):
    """A keep-alive connection of a well-behaved client: one request at a time, `Connection: close` is obeyed."""

    def __init__(self) -> None:
        self.open = False
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[int] | None = None
        self._parser: httptools.HttpResponseParser
        self._answering = False

    @classmethod
    async def to(cls, host: str, port: int) -> "Connection":
        """Connect, or raise OSError."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    async def ask(self, request: bytes) -> int:
        """Send one request and return the answer's status; raise LostError where none comes."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._answering = False
        if not self.open:
            raise LostError(answering=False)
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close at once, whatever is under way."""
        self.open = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport: asyncio's call."""
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        """Feed the parser: asyncio's call."""
        if self._answer is None or self._answer.done():
            self.close()  # nobody asked: what follows would be taken for the next answer
            return
        self._answering = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        """End a request that is still unanswered: asyncio's call."""
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LostError(answering=self._answering))

    def on_message_complete(self) -> None:
        """Hand the answer's status over: the parser's call."""
        if not self._parser.should_keep_alive():
            self.open = False
            self._transport.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._parser.get_status_code())
