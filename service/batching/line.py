"""The parts that wait for one model, and which of them go next, together."""

import heapq
import itertools
import math
from collections.abc import Hashable, Iterator
from operator import attrgetter
from typing import Final

from service.batching.worker import LATE, Part

#: A part with priority goes before those without that came up to so many seconds earlier: they cannot starve.
HEAD_START: Final = 1.0

_order: Final = attrgetter("order")


class _Group:
    """The parts of one key, with and without priority, in the order in which they came."""

    __slots__ = ("lanes", "rows", "size")

    def __init__(self) -> None:
        self.lanes: tuple[dict[Part, None], dict[Part, None]] = ({}, {})  # ordered sets
        self.rows = self.size = 0

    def first(self) -> Part:
        """Return the part whose turn it is."""
        normal, urgent = (next(iter(lane), None) for lane in self.lanes)
        if normal is None or urgent is None:
            return normal or urgent  # type: ignore[return-value]  # no group is empty
        return min(normal, urgent, key=_order)

    def parts(self, count: int) -> list[Part]:
        """Return the first `count` parts in the order of their turns."""
        normal, urgent = self.lanes
        merged = heapq.merge(normal, urgent, key=_order) if urgent else normal
        return list(itertools.islice(merged, count))


class Line:
    """Parts of one key go together, as many as fit into a batch; the key whose turn it is goes first.

    A batch has at most `max_rows` rows and `max_size` bytes, except that a single part always fits. For company it
    waits `patience` seconds from its oldest part on, unless it is full, shares none, or has a part with priority.
    """

    def __init__(self, max_rows: int, max_size: int, patience: float = 0.0) -> None:
        self._max_rows, self._max_size, self._patience = max_rows, max_size, patience
        self._groups: dict[Hashable, _Group] = {}
        self.rows = self.size = self._urgent_rows = 0

    def __iter__(self) -> Iterator[Part]:
        """Yield all parts."""
        for group in self._groups.values():
            yield from group.lanes[0]
            yield from group.lanes[1]

    def __bool__(self) -> bool:
        return bool(self._groups)

    def batches(self, priority: int) -> int:
        """Return how many batches are full, at the least, before a newcomer of this priority has his."""
        if priority:
            groups = sum(1 for group in self._groups.values() if group.lanes[1])
            return max(self._urgent_rows // self._max_rows, groups - 1)
        return max(self.rows // self._max_rows, self.size // self._max_size, len(self._groups) - 1)

    def has_room(self, rows: int, size: int) -> bool:
        """Tell whether so much more would go with all that waits."""
        return self.rows + rows <= self._max_rows and self.size + size <= self._max_size and len(self._groups) <= 1

    def add(self, part: Part) -> None:
        """Let a part wait."""
        group = self._groups.get(part.key)
        if group is None:
            group = self._groups[part.key] = _Group()
        group.lanes[part.priority][part] = None
        group.rows += part.rows
        group.size += part.size
        self.rows += part.rows
        self.size += part.size
        if part.priority:
            self._urgent_rows += part.rows

    def remove(self, part: Part) -> None:
        """Let a part wait no more; one that does not is left alone."""
        group = self._groups.get(part.key)
        if group and part in group.lanes[part.priority]:
            self._remove(group, part)

    def take(self, now: float) -> list[Part]:
        """Remove and return the parts of the next batch; none if nobody waits, or all wait for company.

        Parts that are not wanted any more are removed, too; those whose time is over are told.
        """
        while due := [group for group in self._groups.values() if self._due(group) <= now]:
            group = min(due, key=_turn) if len(due) > 1 else due[0]
            fits = group.rows <= self._max_rows and group.size <= self._max_size
            if batch := (self._take_all if fits else self._take)(group, now):
                return batch
        return []

    def is_full(self) -> bool:
        """Tell whether nobody who comes now would go with the next batch."""
        return bool(self._groups) and self._is_full(min(self._groups.values(), key=_turn))

    def due(self) -> float:
        """Return when `take` will find a batch."""
        return min(map(self._due, self._groups.values()), default=math.inf)

    def _take_all(self, group: _Group, now: float) -> list[Part]:
        """Do as `_take` for a group that fits into one batch: at one go, as parts mostly go."""
        parts = group.parts(self._max_rows)
        self.rows -= group.rows
        self.size -= group.size
        self._urgent_rows -= sum(part.rows for part in group.lanes[1])
        del self._groups[parts[0].key]
        wanted = [part for part in parts if part.is_wanted(now)]
        for part in parts:
            if part.deadline <= now:
                part.settle(LATE)
        return wanted

    def _take(self, group: _Group, now: float) -> list[Part]:
        """Remove and return the parts of the next batch of a group, and remove those before them that nobody wants."""
        batch: list[Part] = []
        rows = size = 0
        for part in group.parts(self._max_rows):
            if not part.is_wanted(now):
                part.settle(LATE)
            else:
                rows, size = rows + part.rows, size + part.size
                if batch and (rows > self._max_rows or size > self._max_size):
                    break
                batch.append(part)
            self._remove(group, part)
        return batch

    def _remove(self, group: _Group, part: Part) -> None:
        del group.lanes[part.priority][part]
        group.rows -= part.rows
        group.size -= part.size
        self.rows -= part.rows
        self.size -= part.size
        if part.priority:
            self._urgent_rows -= part.rows
        if not group.rows:
            del self._groups[part.key]

    def _due(self, group: _Group) -> float:
        if not self._patience or group.lanes[1] or self._is_full(group):
            return -math.inf
        return group.first().since + self._patience

    def _is_full(self, group: _Group) -> bool:
        return group.rows >= self._max_rows or group.size >= self._max_size or not group.first().shares


def _turn(group: _Group) -> tuple[float, int]:
    return group.first().order
