"""The numbers that the pod is to reach, beside those that it reached: ratios and medians of one comparison."""

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.pairs import BINARY, COMPUTE
from benchmarks.peers import table
from benchmarks.results import Results

POD, LITERT, NAIVE, CONSTANT = (
    contender.name for contender in (table.TFPOD, table.TFPOD_LITERT, table.NAIVE, table.STARLETTE)
)
#: All that is not ours, the naive pod too.
PEERS = [peer.name for peer in table.PEERS]


class Goal(NamedTuple):
    """A number to reach: at least `wanted`, or at most; None where it was not measured."""

    text: str
    wanted: float | None
    reached: float | None
    most: bool = False

    def __str__(self) -> str:
        bound = "at most" if self.most else "at least"
        if self.wanted is None or self.reached is None:
            return f"       {self.text}: not measured"
        met = self.reached <= self.wanted if self.most else self.reached >= self.wanted
        return f"{'met  ' if met else 'MISSED'} {self.text}: {self.reached:.3g}, wanted {bound} {self.wanted:.3g}"


def best(results: Results) -> str | None:
    """Return the peer that has the highest rate at 64 connections."""
    rates = {name: rate for name in PEERS if (rate := results.rate(name, 64))}
    return max(rates, key=rates.__getitem__, default=None)


def goals(results: Results) -> Iterator[Goal]:
    """Yield all of them."""
    rival = best(results) or NAIVE
    yield Goal("requests a second at 64 connections, times the naive pod's", 8, results.ratio(POD, NAIVE, 64))
    yield Goal(f"the same, times those of the best peer, {rival}", 4, results.ratio(POD, rival, 64))
    yield Goal("the same, of Starlette's constant answer", 0.75, results.ratio(POD, CONSTANT, 64))
    yield Goal("the same with LiteRT", 0.9, results.ratio(LITERT, CONSTANT, 64))
    tails = [tail for name in PEERS if (tail := results.quantile(name, 64, "p99")) is not None]
    tail = results.quantile(POD, 64, "p99")
    yield Goal("p99 at 64 connections in ms, against the least of any peer", min(tails, default=None), tail, most=True)
    yield Goal("latency of one connection, times bare call and constant answer", 1.5, _latency(results), most=True)
    yield Goal(COMPUTE, 0.95, results.pair(COMPUTE))
    yield Goal(BINARY, 2, results.pair(BINARY))
    yield Goal("MB of memory with LiteRT", 90, results.pss(LITERT), most=True)
    yield Goal("seconds to the first answer with LiteRT", 0.7, results.start(LITERT), most=True)
    yield Goal("MB of memory", 600, results.pss(POD), most=True)
    starts = [start for name in PEERS if (start := results.start(name)) is not None]
    yield Goal(
        "seconds to the first answer, against any peer's", min(starts, default=None), results.start(POD), most=True
    )
    yield Goal("requests lost on SIGTERM", 0, _lost(results), most=True)


def _latency(results: Results) -> float | None:
    pod, constant = (results.quantile(name, 1, "p50") for name in (POD, CONSTANT))
    call = results.calls.get("tensorflow")
    return pod / (constant + call / 1000) if pod and constant and call else None


def _lost(results: Results) -> float | None:
    runs, lost = results.ended(POD)
    return lost.total() if runs else None
