"""service/gpu.py over the real nvidia-ml-py, which reads a driver library that plays the hardware."""

import ctypes
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pynvml
import pytest

from service.gpu import GpuReadings
from tests import fake_nvml
from tests.clock import Clock

Play = Callable[[str], None]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if fake_nvml.compiler() is None:
        pytest.skip("no C compiler to build the driver library with")
    return fake_nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def hardware(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """What plays the hardware; nvidia-ml-py finds it loaded already."""
    file = tmp_path / "gpus.txt"
    monkeypatch.setenv("FAKE_NVML_FILE", str(file))
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return lambda text: fake_nvml.play(file, text)


@pytest.fixture
def readings(clock: Clock, caplog: pytest.LogCaptureFixture) -> Iterator[GpuReadings]:
    """Not started; on a clock that stands still unless a test moves it."""
    caplog.set_level(logging.INFO, "tfpod.gpu")
    readings = GpuReadings(clock=clock, interval=0.01)
    yield readings
    readings.stop()
    until(lambda: not any(thread.name == "gpu-readings" for thread in threading.enumerate()))


def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; it must within 20 s."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_one_device_is_read(hardware: Play, readings: GpuReadings, caplog: pytest.LogCaptureFixture) -> None:
    hardware("devices 1\nutilization 37\nmemory 5000000000\n")
    readings.start()
    until(lambda: readings.utilization() is not None)
    assert readings.utilization() == 37
    assert readings.memory_used() == 5_000_000_000
    assert said(caplog) == ["GPU readings begin"]


def test_two_devices_are_a_mean_of_percents_and_a_sum_of_bytes(hardware: Play, readings: GpuReadings) -> None:
    hardware("devices 2\nutilization 100 60\nmemory 10 20\n")
    readings.start()
    until(lambda: readings.utilization() is not None)
    assert readings.utilization() == 80
    assert readings.memory_used() == 30


def test_an_idle_device_is_a_true_zero(hardware: Play, readings: GpuReadings) -> None:
    hardware("devices 1\nutilization 0\nmemory 0\n")
    readings.start()
    until(lambda: readings.utilization() is not None)
    assert readings.utilization() == 0
    assert readings.memory_used() == 0


def test_a_device_that_nvml_counts_but_refuses_is_not_the_pods(hardware: Play, readings: GpuReadings) -> None:
    hardware("devices 2\ndenied 1\nutilization 100 20\nmemory 10 20\n")
    readings.start()
    until(lambda: readings.utilization() is not None)
    assert readings.utilization() == 20
    assert readings.memory_used() == 20


def test_without_a_library_there_is_no_sample_and_one_line_says_why(
    readings: GpuReadings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", refuse)
    readings.start()
    until(lambda: said(caplog) == ["GPU readings unavailable"])
    assert vars(caplog.records[0])["reason"] == "NVML Shared Library Not Found"
    assert readings.utilization() is None
    assert readings.memory_used() is None


@pytest.mark.parametrize("hidden", ["devices 0\n", "devices 2\ndenied 2\n"])
def test_without_a_device_there_is_no_sample(
    hidden: str, hardware: Play, readings: GpuReadings, caplog: pytest.LogCaptureFixture
) -> None:
    hardware(hidden)
    readings.start()
    until(lambda: said(caplog) == ["GPU readings unavailable"])
    assert vars(caplog.records[0])["reason"] == "no device"
    assert readings.utilization() is None
    assert readings.memory_used() is None


def test_in_mig_mode_there_is_memory_but_no_utilisation(
    hardware: Play, readings: GpuReadings, caplog: pytest.LogCaptureFixture
) -> None:
    hardware("devices 1\nutilization 50\nmemory 7\nmode not-supported\n")
    readings.start()
    until(lambda: readings.memory_used() is not None)
    assert readings.memory_used() == 7
    assert readings.utilization() is None
    assert vars(caplog.records[0])["supported"] == {"utilization": False, "memory": True}


def test_a_driver_that_dies_takes_its_samples_along_and_returns_with_new_ones(
    hardware: Play, readings: GpuReadings, caplog: pytest.LogCaptureFixture
) -> None:
    hardware("utilization 90\n")
    readings.start()
    until(lambda: readings.utilization() == 90)
    hardware("utilization 90\nmode dead\n")
    until(lambda: readings.utilization() is None)
    assert readings.memory_used() is None
    hardware("utilization 10\n")
    until(lambda: readings.utilization() is not None)
    assert readings.utilization() == 10, "a reading from before the death still counts"
    lines = said(caplog)
    assert lines[:2] == ["GPU readings begin", "GPU readings died"]
    assert lines[-1] == "GPU readings begin"
    assert vars(caplog.records[1])["reason"] == "GPU is lost"


def test_a_driver_that_hangs_has_no_sample_until_it_answers(
    hardware: Play, readings: GpuReadings, clock: Clock
) -> None:
    hardware("utilization 90\n")
    readings.start()
    until(lambda: readings.utilization() == 90)
    hardware("mode hang\n")

    def silent() -> bool:
        clock.now += 3.5
        time.sleep(0.05)  # five intervals, in which a driver that answers is read again
        return readings.utilization() is None and readings.memory_used() is None

    until(silent)
    clock.now += 15
    hardware("utilization 10\n")
    until(lambda: readings.utilization() is not None)
    assert readings.utilization() == 10


def test_a_driver_that_hangs_from_the_start_holds_up_neither_start_nor_stop(
    hardware: Play, readings: GpuReadings
) -> None:
    hardware("mode hang\n")
    readings.start()
    readings.stop()
    assert readings.utilization() is None
    hardware("mode ok\n")  # lets the thread end


def test_failed_attempts_are_made_ever_more_rarely_and_logged_once(
    hardware: Play, readings: GpuReadings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float] = []

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0)
            if len(waits) == 9:
                self.set()
            return self.is_set()

    hardware("mode dead\n")
    monkeypatch.setattr(readings, "_stopped", Stopped())
    monkeypatch.setattr(readings, "_interval", 0.5)
    readings._run()
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert said(caplog) == ["GPU readings unavailable"]


def test_utilisation_is_the_mean_of_the_last_fifteen_seconds(readings: GpuReadings, clock: Clock) -> None:
    for share in (100, 0, 50, 30):
        readings.record(share, 1)
        clock.now += 7
    clock.now -= 7
    assert readings.utilization() == pytest.approx((0 + 50 + 30) / 3)


def test_a_level_that_six_readings_held_counts_although_the_mean_has_yet_to_reach_it(
    readings: GpuReadings, clock: Clock
) -> None:
    def record(*shares: float) -> None:
        for share in shares:
            readings.record(share, 1)
            clock.now += 0.5

    record(*[0] * 10, 90, 100, 100, 100, 100)
    assert readings.utilization() == pytest.approx(490 / 15)
    record(95)
    assert readings.utilization() == 90
    record(0)
    assert readings.utilization() == pytest.approx(585 / 17)
    record(10, 20, 10, 10)
    assert readings.utilization() == pytest.approx(635 / 21)
    record(10)
    assert readings.utilization() == 20


def test_memory_is_the_latest_reading(readings: GpuReadings, clock: Clock) -> None:
    readings.record(1, 100)
    clock.now += 1
    readings.record(1, 200)
    assert readings.memory_used() == 200


def test_readings_end_three_seconds_after_the_last(readings: GpuReadings, clock: Clock) -> None:
    readings.record(40, 1)
    clock.now += 3
    assert readings.utilization() == 40
    clock.now += 0.1
    assert readings.utilization() is None
    assert readings.memory_used() is None


def test_utilisation_that_is_no_longer_supported_is_not_told_from_memory(readings: GpuReadings) -> None:
    readings.record(40, 1)
    readings.record(None, 1)
    assert readings.utilization() is None


def test_old_readings_are_forgotten(readings: GpuReadings, clock: Clock) -> None:
    for _ in range(1000):
        readings.record(1, 1)
        clock.now += 0.5
    assert len(readings._readings) == 31


PROCESS = """
import sys, time
from service.gpu import GpuReadings
readings = GpuReadings()
readings.start()
while getattr(sys.modules.get("pynvml"), "nvmlLib", None) is None:
    time.sleep(0.01)
while sys.argv[1] == "read" and readings.utilization() is None:
    time.sleep(0.01)
print(readings.utilization())
readings.stop()
"""


def process(library: Path, tmp_path: Path, what: str, text: str) -> str:
    fake_nvml.play(tmp_path / "gpus.txt", text)
    found = {"LD_LIBRARY_PATH": str(library.parent), "FAKE_NVML_FILE": str(tmp_path / "gpus.txt")}
    command = [sys.executable, "-c", PROCESS, what]
    done = subprocess.run(command, env=os.environ | found, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_library_is_found_by_its_name_as_in_a_pod(library: Path, tmp_path: Path) -> None:
    assert process(library, tmp_path, "read", "devices 2\nutilization 20 40\n") == "30.0\n"


def test_a_process_ends_although_the_driver_hangs(library: Path, tmp_path: Path) -> None:
    assert process(library, tmp_path, "exit", "mode hang\n") == "None\n"
