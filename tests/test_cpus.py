"""service/cpus.py: the processors that a container may use, by cgroup and affinity."""

import os
import sys
import threading
from pathlib import Path

import pytest

from service import cpus


@pytest.fixture(autouse=True)
def machine_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def v1(root: Path, quota: str, period: str) -> Path:
    (root / "cpu").mkdir()
    (root / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (root / "cpu" / "cpu.cfs_period_us").write_text(period)
    return root


def v2(root: Path, text: str) -> Path:
    (root / "cpu.max").write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("1000 100000\n", 1),
        ("6400000 100000\n", 8),
        ("max 100000\n", 8),
        ("", 8),
        ("100000\n", 8),
        ("x y\n", 8),
        ("100000 0\n", 8),
    ],
)
def test_quota_of_version_2(tmp_path: Path, text: str, expected: int) -> None:
    assert cpus.available(v2(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [
        ("300000\n", "100000\n", 3),
        ("-1\n", "100000\n", 8),
        ("1\n", "0\n", 8),
        ("x", "100000", 8),
        ("25000", "50000", 1),
    ],
)
def test_quota_of_version_1(tmp_path: Path, quota: str, period: str, expected: int) -> None:
    assert cpus.available(v1(tmp_path, quota, period)) == expected


def test_version_2_counts_where_both_are_there(tmp_path: Path) -> None:
    assert cpus.available(v2(v1(tmp_path, "500000", "100000"), "200000 100000")) == 2


def test_without_any_cgroup_all_processors_are_free(tmp_path: Path) -> None:
    assert cpus.available(tmp_path / "missing") == 8


def test_affinity_bounds_a_larger_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert cpus.available(v2(tmp_path, "400000 100000")) == 1


def test_a_system_without_affinity_is_asked_for_its_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpus.available(tmp_path) == 1


def test_on_this_machine_there_is_at_least_one() -> None:
    assert cpus.available() >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's own on Linux alone")
def test_a_thread_and_those_that_it_starts_give_way_to_the_others() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def run() -> None:
        cpus.give_way()
        inner = threading.Thread(target=lambda: found.append(niceness()))
        inner.start()
        inner.join()

    found: list[int] = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [max(5, niceness())]


@pytest.mark.parametrize(
    ("took", "found", "tries"),
    [([0.1], True, 1), ([3, 0.1], True, 2), ([3, 3, 3], False, 3), ([200], False, 1)],
    ids=["at once", "after somebody else", "never", "by far not"],
)
def test_work_is_tried_again_if_others_may_have_had_the_processor(took: list[float], found: bool, tries: int) -> None:
    milliseconds = [each / 1000 for each in took]
    now = 0.0

    def work() -> None:
        nonlocal now
        now += milliseconds.pop(0)

    assert cpus.done_within(0.001, work, lambda: now) == found
    assert len(took) - len(milliseconds) == tries
