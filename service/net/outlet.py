"""What a request's cycle sees of its transport: the head of the answer waits for the body, and both go out at once.

A write of its own for each would cost a quarter of what the whole HTTP takes.
"""

import asyncio
from collections.abc import Callable
from typing import Final

#: A longer piece of body is not copied to stand behind the head.
_LONG: Final = 64 << 10
#: The word that a body may come, which is no part of the answer.
_CONTINUE: Final = b"HTTP/1.1 100 "


class Outlet:
    """The transport of one answer; `end` closes the connection, once nothing is held back."""

    # Not the cycle: objects that refer to each other wait for the garbage collector.
    __slots__ = ("_end", "_head", "_held", "_write", "is_closing")

    def __init__(self, transport: asyncio.Transport, end: Callable[[], None]) -> None:
        self._write, self.is_closing = transport.write, transport.is_closing
        self._end, self._head, self._held = end, b"", False

    def write(self, data: bytes) -> None:
        """Write, but not the head before there is more."""
        if not (self._held or data.startswith(_CONTINUE)):
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
