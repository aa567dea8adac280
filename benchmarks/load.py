"""Offers HTTP requests at a given rate, whatever the server does, and counts every way in which one can fail.

The loop is open: requests are due by an absolute schedule, and latency counts from the moment one was due, so a server
that stalls cannot slow its own test down. Connections are kept alive as a proxy keeps them; nothing is retried.

    python -m benchmarks.load URL --steps 10:30,80:60,10:30 --body digit.json --header 'Authorization: Bearer …'
"""

import argparse
import asyncio
import json
import signal
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.client import Connection, LostError, Target, post


class Step(NamedTuple):
    """A stretch of constant load: `rate` requests a second for `seconds`."""

    rate: float
    seconds: float


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of all do not exceed; NaN without any."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


@dataclass
class Report:
    """What came of the requests: each ends once, answered with 2xx or as one kind of failure.

    Kinds: `refused` (no connection), `reset` (connection ended, nothing answered), `cut` (ended within the answer),
    `late` (no answer within the time limit) and the status code of every other answer.
    """

    offered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)  # seconds from due to answered, of the 2xx
    refused: list[float] = field(default_factory=list)  # the same, of those told to come back: 429 and 503
    worst_lag: float = 0.0  # seconds from due to the generator's own turn: large = it was too slow itself

    @property
    def failed(self) -> int:
        """How many requests were not answered with 2xx."""
        return self.failures.total()

    def quantile(self, share: float) -> float:
        """Return the latency in seconds that `share` of the answered requests kept to; NaN without any."""
        return quantile(self.latencies, share)

    def summary(self) -> dict[str, object]:
        """Return the counts, and the latencies in milliseconds, ready for JSON."""
        latency = {f"p{share:g}": round(self.quantile(share / 100) * 1000, 2) for share in (50, 90, 99, 99.9)}
        return {
            "offered": self.offered,
            "answered": len(self.latencies),
            "failed": self.failed,
            "failures": dict(self.failures),
            "latency_ms": latency if self.latencies else None,
            "worst_lag_ms": round(self.worst_lag * 1000, 2),
        }


async def offer(
    target: Target,
    steps: Sequence[Step],
    *,
    connections: int = 32,
    patience: float = 10,
    stop: asyncio.Event | None = None,
) -> Report:
    """Offer the steps one after the other, until their end, SIGTERM or `stop`, and wait for the last answer.

    At most `connections` are open, used in turn; a request that finds none free waits while its time runs on, and
    is late after `patience` seconds.
    """
    report = Report()
    pool = _Pool(target, connections)
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    clock = loop.time
    start = clock()
    async with asyncio.TaskGroup() as requests:
        for due in _schedule(steps):
            await asyncio.sleep(start + due - clock())
            if stop.is_set():
                break
            report.worst_lag = max(report.worst_lag, clock() - start - due)
            requests.create_task(_one(pool, start + due, start + due + patience, report))
    pool.close()
    return report


class _Pool:
    """Up to `size` connections: opened until there are that many, then used in turn."""

    def __init__(self, target: Target, size: int) -> None:
        self.target = target
        self._slots: deque[Connection | None] = deque([None] * size)
        self._free = asyncio.Semaphore(size)

    async def ask(self) -> int:
        async with self._free:
            connection = self._slots.popleft()
            try:
                if connection is None or not connection.open:
                    connection = None
                    connection = await Connection.to(self.target.host, self.target.port)
                return await connection.ask(self.target.request)
            except asyncio.CancelledError:
                if connection is not None:
                    connection.close()
                raise
            finally:
                self._slots.append(connection)

    def close(self) -> None:
        for connection in self._slots:
            if connection is not None:
                connection.close()


async def _one(pool: _Pool, due: float, deadline: float, report: Report) -> None:
    report.offered += 1
    try:
        async with asyncio.timeout_at(deadline):
            status = await pool.ask()
    except TimeoutError:
        report.failures["late"] += 1
    except LostError as lost:
        report.failures[str(lost)] += 1
    except OSError:
        report.failures["refused"] += 1
    else:
        seconds = asyncio.get_running_loop().time() - due
        if 200 <= status < 300:
            report.latencies.append(seconds)
        else:
            report.failures[str(status)] += 1
            report.refused += [seconds] if status in {429, 503} else []


def _schedule(steps: Sequence[Step]) -> Iterator[float]:
    """Yield the seconds after the start at which requests are due, evenly spaced within a step."""
    begin = 0.0
    for rate, seconds in steps:
        yield from (begin + number / rate for number in range(round(rate * seconds)))
        begin += seconds


def _steps(text: str) -> list[Step]:
    return [Step(*map(float, part.split(":"))) for part in text.split(",")]


def main() -> None:
    """Offer the load named on the command line, print the report as JSON, and end with 1 where a request failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--steps", type=_steps, required=True, help="RATE:SECONDS,… (requests a second)")
    parser.add_argument("--connections", type=int, default=32, help="kept alive at once (default: %(default)s)")
    parser.add_argument(
        "--patience", type=float, default=10, help="seconds until a request is late (default: %(default)s)"
    )
    parser.add_argument("--body", type=Path, help="a file to POST as JSON; without it, GET")
    parser.add_argument("--header", action="append", default=[], help="a header line, 'Name: value'")
    given = parser.parse_args()
    target = post(given.url, given.body.read_bytes() if given.body else b"", given.header)
    report = asyncio.run(offer(target, given.steps, connections=given.connections, patience=given.patience))
    print(json.dumps(report.summary()))
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
