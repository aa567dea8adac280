"""Counts what a SIGTERM costs the clients of one server: nothing, where it drains well.

Each run starts a server, keeps 64 connections busy one request after the other, and sends SIGTERM. Clients go on
opening connections for as long as proxies may still know the server, and keep using those that are open until told to
close. Every request that is not answered with 2xx is lost.

    python -m benchmarks.sigterm --runs 20
"""

import argparse
import asyncio
import signal
import sys
from collections import Counter
from typing import Final

from benchmarks.client import Connection, LostError, Target, post
from benchmarks.programs import Program, pod

CLIENTS: Final = 64
#: Seconds that the pod listens on after SIGTERM; the default, 5, would only take longer.
DRAIN_DELAY: Final = 1.0
_BEFORE: Final = 1.0  # seconds of load until then
_ROUTED: Final = 0.8  # seconds after SIGTERM until a proxy has stopped sending new connections
_LEFT: Final = 3.0  # seconds after SIGTERM until a proxy gives its open connections up, where nobody told it to
_PATIENCE: Final = 5.0  # seconds for one answer


class _Clients:
    """Closed-loop clients that count their answers before and after the signal, and every failure by its kind.

    `in flight`: sent before the signal, and the connection ended. `on reuse`: sent after it, on a connection of which
    nobody had said that it would end. `refused`: no new connection, counted once for each client. `hung`: no answer.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.signalled = False
        self.routed = True
        self.left = False
        self.counts: Counter[str] = Counter()

    async def one(self) -> None:
        """Ask on one connection after another for as long as the server is routed to."""
        while self.routed:
            try:
                connection = await Connection.to(self.target.host, self.target.port)
            except OSError:
                self.counts["refused"] += 1
                return
            while connection.open and not self.left and await self._ask(connection):
                pass
            connection.close()

    async def _ask(self, connection: Connection) -> bool:
        """Ask once and count what comes of it; return whether the connection is of use."""
        before = not self.signalled
        try:
            async with asyncio.timeout(_PATIENCE):
                status = await connection.ask(self.target.request)
        except LostError:
            self.counts["in flight" if before else "on reuse"] += 1
        except TimeoutError:
            self.counts["hung"] += 1
            self.routed = False
        else:
            kind = "after" if self.signalled else "before"
            self.counts[kind if 200 <= status < 300 else str(status)] += 1
            return True
        return False


async def end(program: Program, connections: int = CLIENTS) -> Counter[str]:
    """Load a running server, signal it, and return the counts; it may still run where it does not obey.

    Where its first process has ended, all others are killed, as the kernel does it in a container.
    """
    clients = _Clients(post(program.url, program.body))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(clients.one())
        await asyncio.sleep(_BEFORE)
        program.process.send_signal(signal.SIGTERM)
        clients.signalled = True
        ending = tasks.create_task(_end_all(program))
        await asyncio.sleep(_ROUTED)
        clients.routed = False
        await asyncio.sleep(_LEFT - _ROUTED)
        clients.left = True
        ending.cancel()
    return clients.counts


async def _end_all(program: Program) -> None:
    await program.process.wait()
    program.tree.send(signal.SIGKILL)


def lost(counts: Counter[str]) -> Counter[str]:
    """Return the failures among the counts."""
    return Counter({kind: count for kind, count in counts.items() if kind not in {"before", "after"} and count})


async def run(connections: int) -> tuple[Counter[str], float]:
    """Start a pod, load it, signal it, and return the counts and the seconds that it took to end."""
    async with pod({"TFPOD_DRAIN_DELAY": str(DRAIN_DELAY)}) as program:
        clock = asyncio.get_running_loop().time
        start = clock()
        counts = await end(program, connections)
        await program.process.wait()
        counts["exit status"] += program.process.returncode != 0
        return counts, clock() - start - _BEFORE


def main() -> None:
    """Print a line for every run and the totals; end with 1 where a request failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--connections", type=int, default=CLIENTS)
    given = parser.parse_args()
    total: Counter[str] = Counter()
    print(f"{'run':>5} {'before':>8} {'after':>8} {'failed':>8} {'ended in':>10}")
    for number in range(1, given.runs + 1):
        counts, seconds = asyncio.run(run(given.connections))
        total += counts
        print(_line(str(number), counts), f"{seconds:>8.2f} s", flush=True)
    print(_line("total", total), " ", dict(lost(total)) or "")
    sys.exit(1 if lost(total) else 0)


def _line(name: str, counts: Counter[str]) -> str:
    return f"{name:>5} {counts['before']:>8} {counts['after']:>8} {lost(counts).total():>8}"


if __name__ == "__main__":
    main()
