"""What uvicorn and its parser leave undone about the heads of requests."""

from typing import Any

import httptools


def without_upgrade(parser: Any, url: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
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


class Forget(list[tuple[bytes, bytes]]):
    """A list that stays empty."""

    def append(self, _: tuple[bytes, bytes]) -> None:
        """Forget the item."""
