"""Measures how long each program takes from its start to its first answer, and how much memory it then holds.

Cold means that no file of the environment or the project is in the page cache; warm, that all are. Medians of the runs.

    python -m benchmarks.startup --runs 5 --runtime litert

With `litert` the pod runs in an environment of its own, made of requirements/litert.txt in a temporary folder.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.programs import ROOT, Program, adapter, memory, pod


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
            return Start(seconds, _cpu(program.process.pid), *memory(program.process.pid))

    return asyncio.run(once())


def main() -> None:
    """Print a table: one row for each program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--runtime", choices=["tensorflow", "litert"], default="tensorflow")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lite = options.runtime == "litert"
        environment = _small_environment(Path(folder, "venv")) if lite else Path(sys.prefix)
        programs: dict[str, Callable[[], Program]] = {"pod": pod, "adapter": lambda: adapter(Path(folder))}
        print(f"{'':8} {'cold':>9} {'warm':>9} {'CPU':>9} {'RSS':>9} {'PSS':>9}")
        for name in ["pod"] if lite else programs:
            print(f"{name:8} {_row(programs[name], environment, options.runs)}", flush=True)


def _row(make: Callable[[], Program], environment: Path, runs: int) -> str:
    def start() -> Start:
        program = make()
        program.python = str(environment / "bin/python")
        return measure(program)

    cold = []
    for _ in range(runs):
        _evict(environment)
        cold.append(start().seconds)
    seconds, cpu, rss, pss = (median(values) for values in zip(*(start() for _ in range(runs)), strict=True))
    return f"{median(cold):>7.2f} s {seconds:>7.2f} s {cpu:>7.2f} s {rss:>5.0f} MiB {pss:>5.0f} MiB"


def _cpu(process: int) -> float:
    """Return the seconds that a process has computed, itself and in the system (proc(5), `stat`)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _small_environment(folder: Path) -> Path:
    """Make what the image without TensorFlow has: compiled, and without pip."""
    requirements = ROOT / "requirements/litert.txt"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--require-hashes", "-r", requirements], check=True)
    subprocess.run([python, "-m", "compileall", "-q", folder / "lib", ROOT / "service"], check=True)
    return folder


def _evict(environment: Path) -> None:
    """Ask the kernel to drop the programs' files from its page cache, which needs no rights."""
    for folder in (environment / "lib", Path(sys.base_prefix) / "lib", ROOT / "service", ROOT / "models"):
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
