"""Counters and histograms of one thread: an event costs an addition.

Those of prometheus_client take a lock each time, and look through the buckets; it is handed these when somebody asks.
"""

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Count:
    """One counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Count up."""
        self.value += amount


class Buckets:
    """One histogram; `bounds` are the buckets' upper ends, rising, and there is one more bucket above."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


T = TypeVar("T")


class Family(Collector, Generic[T]):
    """A metric's children by the values of its labels; `collect` is prometheus_client's."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], make: Callable[[], T]) -> None:
        self.name, self.text, self.names, self._make = name, text, labels, make
        self.children: dict[tuple[str, ...], T] = {}

    def labels(self, *values: str) -> T:
        """Return the child with these values; from then on it is exposed."""
        if values not in self.children:
            self.children[values] = self._make()
        return self.children[values]


class Counter(Family[Count]):
    """Counters; the name ends with `_total`."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        super().__init__(name, text, labels, Count)

    def collect(self) -> Iterator[Metric]:
        """Yield the metric as it is now."""
        family = CounterMetricFamily(self.name, self.text, labels=self.names)
        for values, child in self.children.items():
            family.add_metric(values, child.value)
        yield family


class Histogram(Family[Buckets]):
    """Histograms of the same buckets, whose upper ends are `bounds`."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> None:
        super().__init__(name, text, labels, lambda: Buckets(bounds))
        self._ends = [*map(floatToGoString, bounds), "+Inf"]

    def collect(self) -> Iterator[Metric]:
        """Yield the metric as it is now."""
        family = HistogramMetricFamily(self.name, self.text, labels=self.names)
        for values, child in self.children.items():
            sums = itertools.accumulate(child.counts)
            family.add_metric(values, list(zip(self._ends, sums, strict=True)), child.sum)
        yield family
