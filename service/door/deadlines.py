"""The time that each request has: `with Deadline(deadlines, at):`, as asyncio.timeout_at, for a tenth of its cost."""

import asyncio
import functools
from types import TracebackType
from typing import Final

from service.expiry import Expiry


class Deadlines:
    """Those of all requests in flight, of one event loop."""

    def __init__(self) -> None:
        self.open: Final[set[Deadline]] = set()
        self.expiry: Final[Expiry[Deadline]] = Expiry(lambda: self.open, Deadline.expire)

    @functools.cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop, which it takes a call of the system to look up."""
        return asyncio.get_running_loop()


class Deadline:
    """A context of one task: cancels it at that time by the loop's clock, and raises TimeoutError."""

    __slots__ = ("_all", "_late", "_task", "deadline")

    def __init__(self, all_: Deadlines, at: float) -> None:
        self._all, self.deadline, self._late = all_, at, False
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task(self._all.loop)
        self._all.open.add(self)
        self._all.expiry.watch(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Raise TimeoutError if that is what the task was cancelled for, and only that."""
        self._all.open.discard(self)
        if self._late and self._task and not self._task.uncancel() and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the task."""
        self._late = True
        self._all.open.discard(self)
        if self._task:
            self._task.cancel()
