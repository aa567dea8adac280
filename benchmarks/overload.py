"""Measures the pod against the naive one, and what becomes of it when twice as much is asked as it can do.

Both serve one model whose batches are cheaper by the row (dense.py). First, clients on 64 connections ask one request
after the other, of each program for a while in turn. Then requests come to the pod at 80 % of what it could do, and at
200 %, by a schedule that waits for nobody.

    python -m benchmarks.overload --seconds 20
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import uvloop

from benchmarks.client import Connection, Target, post
from benchmarks.dense import INPUTS
from benchmarks.load import Report, Step, offer
from benchmarks.programs import ROOT, Program, memory, naive, pod

_BODY: Final = json.dumps({"instances": [[0.5] * INPUTS]}).encode()
_CLIENTS: Final = 64
#: Of the open loop: more than the pod lets in at once.
_CONNECTIONS: Final = 400


class Window:
    """What a program answered to clients that ask one request after the other."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.rates: list[float] = []
        self.failed = 0

    async def measure(self, target: Target, seconds: float) -> None:
        """Ask for so many seconds, on connections opened before."""
        connections = [await Connection.to(target.host, target.port) for _ in range(_CLIENTS)]
        before, begun = len(self.latencies), time.monotonic()
        await asyncio.gather(*(self._ask(connection, target, begun + seconds) for connection in connections))
        self.rates.append((len(self.latencies) - before) / (time.monotonic() - begun))
        for connection in connections:
            connection.close()

    async def _ask(self, connection: Connection, target: Target, until: float) -> None:
        while (begun := time.monotonic()) < until:
            if await connection.ask(target.request) == 200:
                self.latencies.append(time.monotonic() - begun)
            else:
                self.failed += 1

    @property
    def rate(self) -> float:
        """Answers a second, the median of the windows."""
        return median(self.rates)


async def compare(programs: dict[str, Program], rounds: int, seconds: float) -> Window:
    """Measure the programs in turn, print what came of it, and return that of the last one."""
    windows = {name: Window() for name in programs}
    targets = {name: post(program.url, program.body) for name, program in programs.items()}
    for number in range(rounds + 1):
        for name, target in targets.items():  # the first time, to warm up
            await (windows[name] if number else Window()).measure(target, seconds if number else 1)
    print(f"{_CLIENTS} clients {'requests/s':>11} {'p50':>10} {'p99':>10} {'not 200':>8}")
    for name, window in windows.items():
        p50, p99 = (_milliseconds(window.latencies, share) for share in (0.5, 0.99))
        print(f"{name:10} {window.rate:>11.0f} {p50:>7.0f} ms {p99:>7.0f} ms {window.failed:>8}")
    first, *_, last = windows.values()
    print(f"in each window, {median(b / a for a, b in zip(first.rates, last.rates, strict=True)):.1f} times as many\n")
    return last


async def overload(program: Program, capacity: float, share: float, seconds: float) -> Report:
    """Ask for a share of the capacity, and print what came of it."""
    before = memory(program.process.pid)[1]
    steps = [Step(share * capacity, seconds)]
    report = await offer(post(program.url, program.body), steps, connections=_CONNECTIONS)
    after = memory(program.process.pid)[1]
    lost = {kind: count for kind, count in report.failures.items() if kind != "429"}
    print(
        f"{share:>10.0%} {report.offered / seconds:>9.0f} {len(report.latencies) / seconds:>9.0f}"
        f" {_milliseconds(report.latencies, 0.5):>7.0f} ms {_milliseconds(report.latencies, 0.99):>7.0f} ms"
        f" {len(report.refused) / seconds:>9.0f} {_milliseconds(report.refused, 0.5):>7.0f} ms"
        f" {_milliseconds(report.refused, 0.99):>7.0f} ms {before:>6.0f} MiB {after:>6.0f} MiB {lost or ''}",
        flush=True,
    )
    if report.worst_lag > 0.02:
        print(f"{'':10} the generator itself was late by up to {1000 * report.worst_lag:.0f} ms")
    return report


async def run(rounds: int, window: float, seconds: float) -> bool:
    """Measure all; return whether nothing was lost."""
    with tempfile.TemporaryDirectory() as folder:
        make = [sys.executable, "-m", "benchmarks.dense", folder]
        subprocess.run(make, cwd=ROOT, check=True, capture_output=True)  # noqa: ASYNC221 - nothing else happens yet
        async with pod({"TFPOD_MODELS": f"dense={folder}"}, "dense", _BODY) as ours:
            async with naive(Path(folder), _BODY) as theirs:
                capacity = (await compare({"naive": theirs, "pod": ours}, rounds, window)).rate
            print(f"{'load':>10} {'offered/s':>9} {'200/s':>9} {'p50':>10} {'p99':>10}", end=" ")
            print(f"{'refused/s':>9} {'p50':>10} {'p99':>10} {'PSS before':>10} {'after':>10}  lost")
            calm, storm = [await overload(ours, capacity, share, seconds) for share in (0.8, 2.0)]
    print(f"p99 at twice the capacity: {storm.quantile(0.99) / calm.quantile(0.99):.1f} times that at 80 %")
    return not calm.failed and set(storm.failures) <= {"429"}


def _milliseconds(seconds: Sequence[float], share: float) -> float:
    ordered = sorted(seconds)
    return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def main() -> None:
    """Print the tables; end with 1 where an answer was lost, or a request refused without need."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="windows of each program (default: %(default)s)")
    parser.add_argument("--window", type=float, default=2, help="seconds of each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="of each load (default: %(default)s); 300 for memory")
    given = parser.parse_args()
    sys.exit(0 if uvloop.run(run(given.rounds, given.window, given.seconds)) else 1)


if __name__ == "__main__":
    main()
