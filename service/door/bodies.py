"""The body of a request on its way into memory: no longer than it may be, packed or not, with room for all of it."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from starlette.types import Message, Receive

from service.door import compression
from service.errors import Overloaded, TooLarge

T = TypeVar("T")

#: Work on more bytes than this is done in a thread, between whose steps the loop goes on.
LARGE: Final = 64 << 10


class CallerGone(asyncio.CancelledError):
    """The connection was closed by the other side; what the server cancels a request for."""


class Room:
    """What all requests in flight may have together: places, and bytes of their bodies."""

    def __init__(self, size: int, places: int = 1) -> None:
        self._size, self._places = size, places
        self.places_taken = self.taken = 0

    def enter(self, size: int) -> None:
        """Take a place, and so many bytes. Raises Overloaded."""
        if self.places_taken >= self._places:
            raise Overloaded(f"{self.places_taken} requests are in flight, as many as this pod takes")
        self.take(size)
        self.places_taken += 1

    def take(self, size: int) -> None:
        """Take so many bytes more. Raises Overloaded."""
        if self.taken + size > self._size:
            raise Overloaded(f"the bodies in flight fill the {self._size} bytes there are for them")
        self.taken += size

    def leave(self, size: int) -> None:
        """Give a place back, and so many bytes."""
        self.places_taken -= 1
        self.taken -= size


class Body:
    """One request's body, which has a place in the room until the context ends: as long as the request is in flight."""

    __slots__ = ("_coding", "_declared", "_longest", "_room", "_taken", "complete")

    def __init__(self, room: Room, *, longest: int, declared: int, coding: str | None) -> None:
        """Raise TooLarge if it is declared to be longer than `longest`; `coding` as compression.py has it."""
        self._room, self._longest, self._declared, self._coding = room, longest, declared, coding
        self._taken = 0
        self.complete = False
        self._check(declared)

    def __enter__(self) -> Self:
        """Take room for what is declared. Raises Overloaded."""
        self._room.enter(self._declared)
        self._taken = self._declared
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give all room back."""
        self._room.leave(self._taken)

    async def whole(self, receive: Receive) -> Message:
        """Return the body as one message (ASGI), then what follows it; undeclared, it takes room as it comes.

        Raises TooLarge as soon as it is too long, Overloaded if there is no room, CallerGone, and what unpacking does.
        """
        if self.complete:
            return await receive()
        chunks, size = [], 0
        while not self.complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise CallerGone
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._taken:  # which is no more than it may be
                self._check(size)
                self.take(size - self._taken)
            self.complete = not message.get("more_body", False)
        body = b"".join(chunks)  # of one piece it is that piece
        if self._coding:
            body = await self._unpacked(body, self._coding)
        return {"type": "http.request", "body": body, "more_body": False}

    def take(self, size: int) -> None:
        """Take room for so many bytes more, as for what is made of the body. Raises Overloaded."""
        self._room.take(size)
        self._taken += size

    async def _unpacked(self, body: bytes, coding: str) -> bytes:
        """Unpack no more than the body may be long, in steps: the first of a short body, mostly all of it, at once."""
        chunks, size = [], 0
        pieces = compression.unpacked(body, coding)
        while (piece := await aside(max(len(body), 2 * size), next, pieces, None)) is not None:
            chunks.append(piece)
            size += len(piece)
            self._check(size)
            self.take(len(piece))
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _check(self, size: int) -> None:
        if size > self._longest:
            raise TooLarge(f"the body is longer than {self._longest} bytes")


async def aside(size: int, work: Callable[..., T], *args: Any) -> T:
    """Do the work at once, or in a thread if `size` bytes are much."""
    return await asyncio.to_thread(work, *args) if size > LARGE else work(*args)
