"""Ends what is not done in time, by one timer for all of it: most is done long before."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Generic, Protocol, TypeVar


class Due(Protocol):
    """Something that has a deadline, by the clock of the event loop."""

    @property
    def deadline(self) -> float:
        """When its time is over."""
        ...


T = TypeVar("T", bound=Due)


class Expiry(Generic[T]):
    """Calls `expire` with those of `waiting` whose time is over; `clock` counts seconds as the loop's does."""

    def __init__(
        self,
        waiting: Callable[[], Iterable[T]],
        expire: Callable[[T], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waiting, self._expire, self._clock = waiting, expire, clock
        self._next = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, one: T) -> None:
        """See to one that waits from now on."""
        if one.deadline < self._next:
            self._set(one.deadline)

    def close(self) -> None:
        """See to nobody any more."""
        if self._timer:
            self._timer.cancel()

    def _set(self, at: float) -> None:
        self.close()
        # In no request's context: what is logged then is not about whoever was served when the timer was set.
        self._next, self._timer = at, asyncio.get_running_loop().call_at(at, self._look, at, context=Context())

    def _look(self, at: float) -> None:
        now = max(at, self._clock())  # the loop's timers may be early by a fraction of a millisecond
        self._next, self._timer = math.inf, None
        for one in list(self._waiting()):
            if one.deadline <= now:
                self._expire(one)
            else:
                self.watch(one)
