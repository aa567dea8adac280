"""What a request's cycle sees of its transport: the head of the answer waits for the body, and both go out at once.

A write of its own for each would cost a quarter of what the whole HTTP takes.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

#: A longer piece of body is not copied to stand behind the head.
_LONG: Final = 64 << 10


class Outlet:
    """The transport of one answer; `end` closes the connection, once nothing is held back."""

    __slots__ = ("_cycle", "_end", "_head", "_held", "_write", "is_closing")

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle, end: Callable[[], None]) -> None:
        self._write, self.is_closing = transport.write, transport.is_closing
        self._cycle, self._end, self._head, self._held = cycle, end, b"", False

    def write(self, data: bytes) -> None:
        """Write, but what is written first, unless it is the word that a body may come (`100 Continue`)."""
        if self._cycle.response_started and not self._held:
            self._head, self._held = data, True
        elif self._head and len(data) <= _LONG:
            head, self._head = self._head, b""
            self._write(head + data)
        else:
            self.flush()
            self._write(data)

    def flush(self) -> None:
        """Write what is held back: it has no body."""
        if self._head:
            head, self._head = self._head, b""
            self._write(head)

    def close(self) -> None:
        """Close, in good order."""
        self.flush()
        self._end()
