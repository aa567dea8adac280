"""Measures how long each program takes from its start to its first answer, and how much memory it then holds.

Cold means that no file of the environment or the project is in the page cache; warm, that all are. Medians of the runs.

    python -m benchmarks.startup --runs 5 --runtime litert

Each runs in an environment of its own, of the compiled requirements that its image has.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.environments import environment
from benchmarks.processes import cpu, memory
from benchmarks.programs import ROOT, Program, adapter, pod


class Start(NamedTuple):
    """One start: seconds to the first answer, of how much computing, and the memory then, in MiB."""

    seconds: float
    cpu: float
    rss: float
    pss: float  # shared pages counted by share


def measure(program: Program) -> Start:
    """Start the program once, and end it."""

    async def once() -> Start:
        begin = time.monotonic()
        async with program:
            seconds = time.monotonic() - begin
            return Start(seconds, cpu(program.process.pid), *memory(program.process.pid))

    return asyncio.run(once())


def main() -> None:
    """Print a table: one row for each program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--runtime", choices=["tensorflow", "litert"], default="tensorflow")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lite = options.runtime == "litert"
        own, other = environment("litert" if lite else "cpu"), environment("adapter")
        programs: dict[str, tuple[Path, Callable[[], Program]]] = {
            "pod": (own, lambda: pod(python=str(own))),
            "adapter": (other, lambda: adapter(Path(folder), python=str(other))),
        }
        print(f"{'':8} {'cold':>9} {'warm':>9} {'CPU':>9} {'RSS':>9} {'PSS':>9}")
        for name in ["pod"] if lite else programs:
            print(f"{name:8} {_row(*programs[name], options.runs)}", flush=True)


def _row(python: Path, make: Callable[[], Program], runs: int) -> str:
    cold = []
    for _ in range(runs):
        _evict(python.parents[1])
        cold.append(measure(make()).seconds)
    seconds, cpu, rss, pss = (median(values) for values in zip(*(measure(make()) for _ in range(runs)), strict=True))
    return f"{median(cold):>7.2f} s {seconds:>7.2f} s {cpu:>7.2f} s {rss:>5.0f} MiB {pss:>5.0f} MiB"


def _evict(environment: Path) -> None:
    """Ask the kernel to drop the programs' files from its page cache, which needs no rights."""
    for folder in (environment / "lib", Path(sys.base_prefix) / "lib", ROOT / "service", ROOT / "models"):
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
