"""What one comparison found, kept as JSON, and the medians and ratios that follow from it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec


class Window(msgspec.Struct):
    """One window of closed-loop load."""

    name: str
    connections: int
    round: int
    rate: float  # answers with 2xx a second
    p50: float  # milliseconds
    p99: float
    failed: int
    cpu: float  # milliseconds of all the server's processes for one answer


class Start(msgspec.Struct):
    """One start of a contender that was alone on the machine."""

    name: str
    seconds: float  # to the first answer
    pss: float  # megabytes, after load


class End(msgspec.Struct):
    """One end by SIGTERM under load: requests by what came of them."""

    name: str
    lost: dict[str, int]


class Storm(msgspec.Struct):
    """What became of twice the capacity: answers with 2xx, refusals to come back later, and the rest, a second."""

    name: str
    offered: float
    answered: float
    refused: float
    lost: float
    p50: float  # milliseconds from when a request was due, of those answered
    p99: float


class Pair(msgspec.Struct):
    """Two rates that were measured one right after the other."""

    what: str
    first: float
    second: float


class Results(msgspec.Struct):
    """All of it."""

    machine: str
    form: str
    errors: dict[str, str] = {}
    windows: list[Window] = []
    starts: list[Start] = []
    ends: list[End] = []
    storms: list[Storm] = []
    pairs: list[Pair] = []
    #: Microseconds of a bare call with one row, and rows a second at best, by runtime.
    calls: dict[str, float] = {}
    rows: dict[str, float] = {}

    def save(self, path: Path) -> None:
        """Write all to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read what `save` wrote."""
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def of(self, name: str, connections: int) -> list[Window]:
        """Return a contender's windows at so many connections."""
        return [window for window in self.windows if (window.name, window.connections) == (name, connections)]

    def rate(self, name: str, connections: int) -> float | None:
        """Return the median rate."""
        return middle([window.rate for window in self.of(name, connections)])

    def ratio(self, name: str, other: str, connections: int) -> float | None:
        """Return the median over the rounds of how many times the rate of another a contender has."""
        others = {window.round: window.rate for window in self.of(other, connections)}
        return middle(
            [
                window.rate / others[window.round]
                for window in self.of(name, connections)
                if others.get(window.round, 0) > 0
            ]
        )

    def quantile(self, name: str, connections: int, which: str) -> float | None:
        """Return the median over the windows of `p50`, `p99` or `cpu`."""
        return middle([getattr(window, which) for window in self.of(name, connections)])

    def start(self, name: str) -> float | None:
        """Return the median seconds to the first answer."""
        return middle([start.seconds for start in self.starts if start.name == name])

    def pss(self, name: str) -> float | None:
        """Return the median memory after load in megabytes."""
        return middle([start.pss for start in self.starts if start.name == name])

    def ended(self, name: str) -> tuple[int, Counter[str]]:
        """Return how often a contender was ended, and the requests that this cost, by kind."""
        mine = [end for end in self.ends if end.name == name]
        return len(mine), sum((Counter(end.lost) for end in mine), Counter())

    def pair(self, what: str) -> float | None:
        """Return the median of how many times the second the first is."""
        return middle([pair.first / pair.second for pair in self.pairs if pair.what == what and pair.second > 0])


def middle(values: Sequence[float]) -> float | None:
    """Return the median, None of nothing."""
    return median(values) if values else None
