"""A timer whose time moves with every request: it is set once, and looks again when it goes off too early."""

import asyncio
import math
from collections.abc import Callable

#: The loop's timers may be early by so many seconds.
_EARLY = 0.002


class Alarm:
    """Calls `ring` when its time comes, by the loop's clock."""

    __slots__ = ("_due", "_loop", "_ring", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring, self._due = loop, ring, math.inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """True while there is a time at which it will ring."""
        return self._due < math.inf

    def set(self, seconds: float) -> None:
        """Ring in so many seconds, and not when it would have."""
        self._due = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._due:
            self._start()

    def unset(self) -> None:
        """Do not ring."""
        self._due = math.inf

    def close(self) -> None:
        """Never ring again, and let go of whom it would have called, who mostly holds the alarm."""
        self.unset()
        if self._timer:
            self._timer.cancel()
        self._timer, self._ring = None, lambda: None

    def _start(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due <= self._loop.time() + _EARLY:
            self._due = math.inf
            self._ring()
        elif self._due < math.inf:
            self._start()
