"""Counts what a SIGTERM costs the clients of one pod: nothing, where it drains well.

Each run starts `python -m service` with the digits model, keeps 64 connections busy one request after the other, and
sends SIGTERM. Clients go on opening connections for as long as proxies may still know the pod (most of the drain
delay) and keep using those that are open until told to close. Every request that is not answered with 2xx counts.

    python -m benchmarks.sigterm --runs 20
"""

import argparse
import asyncio
import signal
import sys
from collections import Counter

from benchmarks.client import Connection, LostError, Target, post
from benchmarks.programs import pod

_DRAIN_DELAY = 1.0  # seconds that the pod listens on after SIGTERM; the default, 5, would only take longer
_ROUTED = 0.8  # seconds after SIGTERM until a proxy has stopped sending new connections


class _Clients:
    """Closed-loop clients that count their answers before and after the signal, and every failure."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.signalled = False
        self.routed = True
        self.counts: Counter[str] = Counter()

    async def one(self) -> None:
        """Ask on one connection after another for as long as the pod is routed to."""
        while self.routed:
            try:
                connection = await Connection.to(self.target.host, self.target.port)
            except OSError:
                self.counts["refused"] += 1
                continue
            try:
                while connection.open:
                    self._count(await connection.ask(self.target.request))
            except LostError as lost:
                self.counts[str(lost)] += 1

    def _count(self, status: int) -> None:
        if not 200 <= status < 300:
            self.counts[str(status)] += 1
        else:
            self.counts["after" if self.signalled else "before"] += 1


async def run(connections: int) -> tuple[Counter[str], float]:
    """Start a pod, load it, signal it, and return the counts and the seconds that it took to end."""
    async with pod({"TFPOD_DRAIN_DELAY": str(_DRAIN_DELAY)}) as program:
        clients = _Clients(post(program.url, program.body))
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as tasks:
            for _ in range(connections):
                tasks.create_task(clients.one())
            await asyncio.sleep(1)
            program.process.send_signal(signal.SIGTERM)
            clients.signalled = True
            start = clock()
            await asyncio.sleep(_ROUTED)
            clients.routed = False
        await program.process.wait()
        clients.counts["exit status"] += program.process.returncode != 0
        return clients.counts, clock() - start


def main() -> None:
    """Print a line for every run and the totals; end with 1 where a request failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--connections", type=int, default=64)
    given = parser.parse_args()
    total: Counter[str] = Counter()
    print(f"{'run':>5} {'before':>8} {'after':>8} {'failed':>8} {'ended in':>10}")
    for number in range(1, given.runs + 1):
        counts, seconds = asyncio.run(run(given.connections))
        total += counts
        print(_line(str(number), counts), f"{seconds:>8.2f} s", flush=True)
    print(_line("total", total), " ", dict(_failures(total)) or "")
    sys.exit(1 if _failures(total) else 0)


def _line(name: str, counts: Counter[str]) -> str:
    return f"{name:>5} {counts['before']:>8} {counts['after']:>8} {_failures(counts).total():>8}"


def _failures(counts: Counter[str]) -> Counter[str]:
    return Counter({kind: count for kind, count in counts.items() if kind not in {"before", "after"} and count})


if __name__ == "__main__":
    main()
