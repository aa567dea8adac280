"""How fast a model is of late, and whether more arrives than it can take."""

import math
from typing import Final

#: What a batch counts after the next one of its size.
_DECAY: Final = 0.8
#: A busy event loop hears of a batch's end late, but not by so many seconds.
_LATE: Final = 1.0
#: More rows than a batch has, left waiting for longer than so many seconds, are no burst any more.
_BURST: Final = 0.1
#: An overload is over when nobody had to be refused for so many seconds.
_OVER: Final = 1.0
#: The event loop computes what is quick itself. If that takes it more than so many seconds, it does not do so again for
#: so many times as long: a call may be slow that looks like others, but shall not keep all of them waiting.
_MOMENT, _RARELY = 0.002, 100


class Moments:
    """Says when the event loop may compute what is quick; to be told how long it took."""

    def __init__(self) -> None:
        self._from = -math.inf

    def allowed(self, now: float) -> bool:
        """Tell whether it may now."""
        return now >= self._from

    def took(self, begun: float, ended: float) -> None:
        """Learn of the last time."""
        if ended - begun > _MOMENT:
            self._from = ended + _RARELY * (ended - begun)


class Pace:
    """Learns from every batch; `max_rows` is the most that one has."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._rows = self._row_seconds = 0.0
        self._crowded_since: float | None = None
        self._over_at = 0.0

    @property
    def batch_seconds(self) -> float:
        """The time of the batch in which a row of late was computed, on average; 0 before the first."""
        return self._row_seconds / self._rows if self._rows else 0.0

    def computed(self, rows: int, seconds: float, waiting: int, now: float) -> None:
        """Learn how long a batch took, and how many rows wait at its end.

        Large batches count by their rows: they tell how it goes in a crowd.
        """
        self._rows = _DECAY * self._rows + rows
        self._row_seconds = _DECAY * self._row_seconds + rows * seconds
        if waiting <= self._max_rows:
            self._crowded_since = None
        elif self._crowded_since is None:
            self._crowded_since = now

    def refused(self, now: float) -> None:
        """Learn that somebody was refused for the overload."""
        self._over_at = now + _OVER

    def overloaded(self, now: float) -> bool:
        """Tell whether there is an overload that lasts."""
        return now < self._over_at or (self._crowded_since is not None and now - self._crowded_since > _BURST)

    def wait(self, batches: int, running_for: float) -> float:
        """Return the seconds until a batch is begun that has so many before it, and one under way for `running_for`.

        One that takes much longer than usual tells of the next, too.
        """
        seconds = running_for if running_for > max(_LATE, self.batch_seconds) else self.batch_seconds
        return batches * seconds + (max(0.0, seconds - running_for) if running_for else 0.0)
