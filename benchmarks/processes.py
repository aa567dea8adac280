"""What a program and all processes that it started take of the machine, and the signals that reach all of them."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

#: In the environment of a program, and with it of all its children, even those that their parents have left.
MARK: Final = "BENCH_PROGRAM"
_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Tree:
    """A process, its descendants, and whatever else carries their mark."""

    def __init__(self, root: int, mark: str) -> None:
        self._root = root
        self._mark = f"{MARK}={mark}".encode()

    def pids(self) -> list[int]:
        """Return those that live now. Some overwrite their environment with a title: their parents tell."""
        parents = {int(path.name): _parent(path) for path in _PROC.iterdir() if path.name.isdigit()}
        found = {pid for pid in parents if pid == self._root or self._mark in _environment(pid)}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)

    def cpu(self) -> float:
        """Return the seconds that all have computed, themselves and in the system."""
        return sum(map(cpu, self.pids()))

    def pss(self) -> float:
        """Return the memory of all in MiB, shared pages by share."""
        return sum(pss for _, pss in self._memories())

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all of them."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _memories(self) -> Iterator[tuple[float, float]]:
        for pid in self.pids():
            with suppress(OSError, KeyError):
                yield memory(pid)


def cpu(process: int) -> float:
    """Return the seconds that a process has computed, itself and in the system (proc(5), `stat`); 0 if it is gone."""
    fields = _stat(_PROC / str(process))
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def memory(process: int) -> tuple[float, float]:
    """Return a process's RSS and PSS in MiB; the latter counts shared pages by share."""
    lines = (_PROC / str(process) / "smaps_rollup").read_text().splitlines()[1:]
    kibibytes = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    return kibibytes["Rss"] / 1024, kibibytes["Pss"] / 1024


def _stat(folder: Path) -> list[str]:
    """Return the fields from the third on; the second, the name in brackets, may hold anything."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(folder: Path) -> int:
    return int(fields[1]) if (fields := _stat(folder)) else 0


def _environment(process: int) -> list[bytes]:
    try:
        return (_PROC / str(process) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
