"""Measures how long each program takes from its start to its first answer, and how much memory it then holds.

Cold means that no file of the environment or the project is in the page cache; warm, that all are. Medians of the runs.

    python -m benchmarks.startup --runs 5
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

from benchmarks.programs import ROOT, Program, adapter, memory, pod

_FOLDERS = (Path(sys.prefix) / "lib", Path(sys.base_prefix) / "lib", ROOT / "service", ROOT / "models")


class Start(NamedTuple):
    """One start: seconds to the first answer, and the memory then, in MiB."""

    seconds: float
    rss: float
    pss: float  # shared pages counted by share


def measure(program: Program) -> Start:
    """Start the program once, and end it."""

    async def once() -> Start:
        begin = time.monotonic()
        async with program:
            seconds = time.monotonic() - begin
            return Start(seconds, *memory(program.process.pid))

    return asyncio.run(once())


def _evict() -> None:
    """Ask the kernel to drop the programs' files from its page cache, which needs no rights."""
    for folder in _FOLDERS:
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Print a table: one row for each program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs: int = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        programs: dict[str, Callable[[], Program]] = {"pod": pod, "adapter": lambda: adapter(Path(folder))}
        print(f"{'':8} {'cold':>9} {'warm':>9} {'RSS':>9} {'PSS':>9}")
        for name, make in programs.items():
            cold = []
            for _ in range(runs):
                _evict()
                cold.append(measure(make()).seconds)
            warm = [measure(make()) for _ in range(runs)]
            seconds, rss, pss = (median(values) for values in zip(*warm, strict=True))
            print(f"{name:8} {median(cold):>7.2f} s {seconds:>7.2f} s {rss:>5.0f} MiB {pss:>5.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
