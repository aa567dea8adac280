"""The pod at 80 % and at twice of what it can do, with a model of some milliseconds a row, beside the naive pod.

First clients on 64 connections ask both in turn, one request after the other. Then requests come to the pod by a
schedule that waits for nobody.

    python -m benchmarks.overload --seconds 20
"""

import argparse
import sys
from collections.abc import Sequence
from statistics import median
from typing import Final

import uvloop

from benchmarks import wrk
from benchmarks.load import Report, Step, offer, quantile
from benchmarks.peers import table
from benchmarks.programs import Program
from benchmarks.workloads import DENSE, save

_CLIENTS: Final = 64
#: More than the pod lets in at once.
_CONNECTIONS: Final = 400


async def compare(programs: dict[str, Program], rounds: int) -> float:
    """Measure the programs in turn, print what came of it, and return the rate of the last."""
    windows: dict[str, list[wrk.Figures]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name, program in programs.items():
            found = await wrk.load(table.target(program), _CLIENTS, 2)
            windows[name] += [found] if number else []  # the first time is to warm up
    print(f"{_CLIENTS} clients {'requests/s':>11} {'p50':>10} {'p99':>10} {'not 200':>8}")
    for name, figures in windows.items():
        rate, p50, p99 = (median(values) for values in list(zip(*figures, strict=True))[:3])
        print(f"{name:10} {rate:>11.0f} {p50:>7.0f} ms {p99:>7.0f} ms {sum(each.failed for each in figures):>8}")
    first, *_, last = windows.values()
    print(f"in each window, {median(b.rate / a.rate for a, b in zip(first, last, strict=True)):.1f} times as many\n")
    return median(each.rate for each in last)


async def overload(program: Program, rate: float, share: float, seconds: float) -> Report:
    """Ask for a share of the rate that the program reached, and print what came of it."""
    before = program.tree.pss()
    report = await offer(table.target(program), [Step(share * rate, seconds)], connections=_CONNECTIONS)
    after = program.tree.pss()
    lost = {kind: count for kind, count in report.failures.items() if kind != "429"}
    print(
        f"{share:>10.0%} {report.offered / seconds:>9.0f} {len(report.latencies) / seconds:>9.0f}"
        f" {_milliseconds(report.latencies, 0.5):>7.0f} ms {_milliseconds(report.latencies, 0.99):>7.0f} ms"
        f" {len(report.refused) / seconds:>9.0f} {_milliseconds(report.refused, 0.5):>7.0f} ms"
        f" {_milliseconds(report.refused, 1.0):>7.0f} ms {before:>6.0f} MiB {after:>6.0f} MiB {lost or ''}",
        flush=True,
    )
    if report.worst_lag > 0.02:
        print(f"{'':10} the generator itself was late by up to {1000 * report.worst_lag:.0f} ms")
    return report


async def run(rounds: int, seconds: float) -> bool:
    """Measure all; return whether nothing was lost."""
    if not DENSE.folder(table.MODELS).exists():
        save(DENSE, table.MODELS)
    async with table.TFPOD.program(DENSE) as ours:
        async with table.NAIVE.program(DENSE) as theirs:
            rate = await compare({"naive": theirs, "pod": ours}, rounds)
        print(f"{'load':>10} {'offered/s':>9} {'200/s':>9} {'p50':>10} {'p99':>10}", end=" ")
        print(f"{'refused/s':>9} {'p50':>10} {'slowest':>10} {'PSS before':>10} {'after':>10}  lost")
        calm, storm = [await overload(ours, rate, share, seconds) for share in (0.8, 2.0)]
    print(f"p99 at twice the capacity: {storm.quantile(0.99) / calm.quantile(0.99):.1f} times that at 80 %")
    return not calm.failed and set(storm.failures) <= {"429"}


def _milliseconds(seconds: Sequence[float], share: float) -> float:
    return 1000 * quantile(seconds, share)


def main() -> None:
    """Print the tables; end with 1 where an answer was lost, or a request refused without need."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="windows of each program (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="of each load (default: %(default)s); 300 for memory")
    given = parser.parse_args()
    if wrk.missing():
        sys.exit("the load comes from wrk, which is not installed")
    sys.exit(0 if uvloop.run(run(given.rounds, given.seconds)) else 1)


if __name__ == "__main__":
    main()
