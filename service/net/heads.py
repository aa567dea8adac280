"""What httptools leaves undone about the heads of requests."""

import functools
from typing import Any, Final
from urllib.parse import unquote

import httptools

Headers = list[tuple[bytes, bytes]]

#: The parts of so many targets that are shorter than this are remembered.
_TARGETS, _SHORT = 1024, 256


class _Forget(Headers):
    def append(self, _: tuple[bytes, bytes]) -> None:
        """Forget the item."""


#: A list that stays empty.
FORGET: Final[Headers] = _Forget()


def target(url: bytes) -> tuple[str, bytes, bytes]:
    """Return a request's path, the same as it was sent, and the query. Raises HttpParserError."""
    return (_target if len(url) < _SHORT else _target.__wrapped__)(url)


def without_upgrade(parser: Any, url: bytes, headers: Headers) -> bytes:
    """Return the head that was read, less the wish for another protocol, which may be ignored (RFC 9110, 7.8).

    Raises HttpParserError for CONNECT, which wishes for nothing else.
    """
    method = parser.get_method()
    if method == b"CONNECT":
        raise httptools.HttpParserError("CONNECT")
    closes = any(name == b"connection" and b"close" in value.lower() for name, value in headers)
    kept = [(name, value) for name, value in headers if name not in (b"connection", b"upgrade", b"http2-settings")]
    lines = [b"%b %b HTTP/%b" % (method, url, parser.get_http_version().encode())]
    lines += [b"%b: %b" % header for header in (*kept, *([(b"connection", b"close")] if closes else []))]
    return b"\r\n".join([*lines, b"", b""])


@functools.lru_cache(_TARGETS)
def _target(url: bytes) -> tuple[str, bytes, bytes]:
    parsed = httptools.parse_url(url)
    raw_path: bytes = parsed.path or b""
    path = raw_path.decode("ascii")
    return unquote(path) if "%" in path else path, raw_path, parsed.query or b""
