"""The processors: how many this container may really use, and who goes first."""

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

#: A third of the weight of a thread of niceness 0.
_NICE: Final = 5
#: Work is tried so often, unless it takes more than so many seconds.
_TRIES, _LONG = 3, 0.1


def available(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the processors that the cgroup quota and the CPU affinity leave, at least 1, a part counted as one.

    A container limited to 2 processors on a machine of 64 still sees 64; a runtime that starts 64 threads there is
    throttled. Sources: the kernel's cgroup-v2.rst (`cpu.max`) and sched-bwc.rst (`cpu.cfs_quota_us`).
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota_v2(root / "cpu.max") or _quota_v1(root / "cpu")
    return max(1, min(affinity, math.ceil(quota) if quota else affinity))


def give_way() -> None:
    """Have this thread, and those that it starts from now on, compute when the process' other threads do not.

    An event loop that has its turn at once, however busy the models are, refuses and answers probes at once. On Linux
    alone, where niceness is a thread's own (sched(7)).
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, max(_NICE, os.getpriority(os.PRIO_PROCESS, thread)))


def done_within(seconds: float, work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> bool:
    """Tell whether work takes less than so many seconds, which are few."""
    return least_seconds(work, _TRIES, _LONG, clock, enough=seconds) < seconds


def least_seconds(
    work: Callable[[], object], tries: int, longest: float, clock: Callable[[], float], *, enough: float = 0.0
) -> float:
    """Return how long work takes, the least of some tries: others may have had the processor, above all at the start.

    None follows one that took more than `longest` seconds, or less than is `enough`.
    """
    least = math.inf
    for _ in range(tries):
        begun = clock()
        work()
        took = clock() - begun
        least = min(least, took)
        if took > longest or took < enough:
            break
    return least


def _quota_v2(path: Path) -> float | None:
    try:
        quota, period = path.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return None if quota < 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return None
