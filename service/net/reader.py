"""What a connection reads: requests, parsed by httptools, with an end to heads, trailers and wishes for upgrades."""

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import httptools
from starlette.types import Scope

from service.net.exchange import Exchange
from service.net.heads import FORGET, Headers, target, without_upgrade

Address = tuple[str, int]

#: Bytes that the head of a request may have.
_HEAD_BYTES: Final = 64 << 10
_TOO_LONG: Final = (431, f"the request's head is longer than {_HEAD_BYTES} bytes")
_INVALID: Final = (400, "invalid HTTP request")
_HOSTS: Final = (400, "a request of HTTP/1.1 has one Host header")
_CODING: Final = (501, "of the transfer codings only chunked is spoken here")
_VERSION: Final = (505, "HTTP/1.0 and HTTP/1.1 are spoken here")
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class Reader(asyncio.Protocol):
    """Turns bytes into exchanges. The parser calls what begins with `on_`."""

    def __init__(self) -> None:
        self.in_head = False
        #: Both ends' addresses, of TCP.
        self.server: Address | None = None
        self.client: Address | None = None
        #: That whose request came last.
        self.latest: Exchange | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: Headers = []
        self._overhead = 0  # bytes since anything was got out of them: a head or a trailer that goes on and on
        self._arrived = 0  # bytes in which the head of a request must be
        self._fault = _INVALID

    @abstractmethod
    def head_begins(self) -> None:
        """Take note of the first byte of a request."""

    @abstractmethod
    def begin(self, scope: Scope, *, keep_alive: bool, expects: bool) -> Exchange:
        """Return the exchange for a request whose head was read."""

    @abstractmethod
    def ended(self, exchange: Exchange) -> None:
        """Take note of the last byte of a request."""

    @abstractmethod
    def refuse(self, status: int, message: str) -> None:
        """Read no more, and say why."""

    def read(self, data: bytes) -> None:
        """Parse; bound what is neither a body nor the end of a head."""
        size = len(data)
        self._overhead += size
        self._arrived = self._arrived + size if self.in_head else size
        try:
            while data:
                data = self._parse(data)
            if self._overhead > _HEAD_BYTES:
                self.fail(*_TOO_LONG)
        except httptools.HttpParserError:
            self.refuse(*self._fault)

    def on_message_begin(self) -> None:
        """Note where a head begins."""
        self._url, self._headers = b"", []
        self.in_head, self._overhead = True, 0
        self.head_begins()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which nobody wants."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Begin an exchange."""
        parser = self._parser
        if parser.should_upgrade():
            return  # it comes again, see `_parse`
        self.in_head, self._overhead = False, 0
        headers, self._headers, url, self._url = self._headers, FORGET, self._url, b""
        if self._arrived > _HEAD_BYTES and len(url) + sum(len(n) + len(v) + 4 for n, v in headers) > _HEAD_BYTES:
            self.fail(*_TOO_LONG)
        version, given = parser.get_http_version(), dict(headers)
        self._check(version, headers, given)
        path, raw_path, query = target(url)
        scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": self.client,
            "server": self.server,
        }
        modern = version != "1.0"  # which knows neither connections that stay nor word in between
        expects = modern and given.get(b"expect", b"").lower() == b"100-continue"
        self.latest = self.begin(scope, keep_alive=modern and parser.should_keep_alive(), expects=expects)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._overhead = 0
        if self.latest:
            self.latest.take(body)

    def on_message_complete(self) -> None:
        """Note the end of a body."""
        self._overhead = 0
        if self.latest and not self._parser.should_upgrade():
            self.latest.end()
            self.ended(self.latest)

    def fail(self, status: int, message: str) -> None:
        """Stop the parser, and refuse what it was reading."""
        self._fault = (status, message)
        raise httptools.HttpParserError(message)

    def _check(self, version: str, headers: Headers, given: Mapping[bytes, bytes]) -> None:
        """Refuse what the parser lets pass (RFC 9112, 2.3, 3.2 and 6.1): others might see another request in it."""
        if version == "1.1":
            if b"host" not in given or (len(given) < len(headers) and len(_values(headers, b"host")) > 1):
                self.fail(*_HOSTS)
        elif version != "1.0":
            self.fail(*_VERSION)
        if b"transfer-encoding" in given and _values(headers, b"transfer-encoding") != [b"chunked"]:
            self.fail(*_CODING)

    def _parse(self, data: bytes) -> bytes:
        """Return what has to be read again: a request that would rather speak another protocol, less that wish.

        The parser takes it for a request without a body, and its body for what follows an upgrade.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as wish:
            head = without_upgrade(self._parser, self._url, self._headers)
            self._parser = httptools.HttpRequestParser(self)
            return head + data[wish.args[0] :]
        return b""


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value.strip().lower() for given, value in headers if given == name]


def address(transport: asyncio.BaseTransport, end: str) -> Address | None:
    """Return the address of one end of a connection, `sockname` or `peername`; there is none where it is not TCP."""
    found = transport.get_extra_info(end)
    return (str(found[0]), int(found[1])) if isinstance(found, tuple) else None
