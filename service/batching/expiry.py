"""Tells parts whose time is over, by one timer for all of them: most are answered long before."""

import asyncio
import math
from collections.abc import Callable, Iterable

from service.batching.worker import LATE, Part


class Expiry:
    """`parts` returns those who wait; `clock` counts seconds as the loop's does."""

    def __init__(self, parts: Callable[[], Iterable[Part]], clock: Callable[[], float]) -> None:
        self._parts, self._clock = parts, clock
        self._loop = asyncio.get_running_loop()
        self._next = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, part: Part) -> None:
        """See to a part that was just added."""
        if part.deadline < self._next:
            self._set(part.deadline)

    def close(self) -> None:
        """See to nobody any more."""
        if self._timer:
            self._timer.cancel()

    def _set(self, at: float) -> None:
        self.close()
        self._next, self._timer = at, self._loop.call_at(at, self._expire, at)

    def _expire(self, at: float) -> None:
        now = max(at, self._clock())  # the loop's timers may be early by a fraction of a millisecond
        self._next, self._timer = math.inf, None
        for part in self._parts():
            if part.deadline <= now:
                part.settle(LATE)
            elif not part.answer.done():
                self.watch(part)
