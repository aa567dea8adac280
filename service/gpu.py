"""GPU readings through NVML: utilisation and memory of the pod's devices, or None where nobody can tell.

An autoscaler believes a 0, so there is none for "unknown": without a driver or a device, on one in MIG mode, when the
driver died or stopped answering there is no sample. NVML lists the devices that the container runtime made visible,
which in a pod are the pod's own; it neither knows nor needs CUDA_VISIBLE_DEVICES.
"""

import importlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import fmean
from typing import Any, Final, NamedTuple

#: Seconds between two readings, over which they are averaged, and after which the latest one says nothing any more.
INTERVAL: Final = 0.5
WINDOW: Final = 15.0
STALE: Final = 3.0
LONGEST_WAIT: Final = 30.0
#: Where so many readings in a row were, 3 s, is no accident.
HELD: Final = 6

log = logging.getLogger("tfpod.gpu")


class Reading(NamedTuple):
    """All devices at one moment; a part that they do not support is None."""

    at: float
    #: Percent of NVML's last sample period (up to 1 s) in which a kernel ran, the mean over the devices: 0..100.
    utilization: float | None
    #: Bytes, the sum over the devices.
    memory_used: int | None


class GpuReadings:
    """Reads all devices twice a second in a daemon thread; asking for the result never waits for the driver.

    `clock` gives seconds, `interval` is the time between two readings and the first wait after a failed one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, interval: float = INTERVAL) -> None:
        self._clock = clock
        self._interval = interval
        self._readings: tuple[Reading, ...] = ()  # replaced whole, so that both threads do without a lock
        self._stopped = threading.Event()
        self._said: tuple[str, object] | None = None

    def start(self) -> None:
        """Begin to read; returns at once, whatever the driver does."""
        threading.Thread(target=self._run, name="gpu-readings", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end after the call it is in; does not wait, for a driver may hang for ever."""
        self._stopped.set()

    def utilization(self) -> float | None:
        """Return the mean utilisation in percent of the last 15 s, None where there is no such reading.

        It is bounded by the lowest and the highest of the last readings: a mean on its way from one level to another is
        behind the times. A utilisation ends at 100, so the autoscaler climbs to its goal in steps, and would lose one
        of them to a mean that climbs; what busy pods remember when new ones have taken their share would have it
        overshoot. A GPU that is busy now and then seldom stays on one side of its own mean so long.
        """
        recent = self._recent()
        if not recent or recent[-1].utilization is None:
            return None
        shares = [reading.utilization for reading in recent if reading.utilization is not None]
        last = shares[-HELD:]
        return min(max(fmean(shares), min(last)), max(last))

    def memory_used(self) -> int | None:
        """Return the bytes in use as last read, None where there is no such reading."""
        recent = self._recent()
        return recent[-1].memory_used if recent else None

    def record(self, utilization: float | None, memory_used: int | None) -> None:
        """Add a reading made just now and forget those that are too old to count."""
        now = self._clock()
        kept = (reading for reading in self._readings if now - reading.at <= WINDOW)
        self._readings = (*kept, Reading(now, utilization, memory_used))

    def _recent(self) -> list[Reading]:
        readings, now = self._readings, self._clock()
        if not readings or now - readings[-1].at > STALE:
            return []
        return [reading for reading in readings if now - reading.at <= WINDOW]

    def _run(self) -> None:
        nvml: Any = importlib.import_module("pynvml")  # here, for it is large and most pods have no use for it
        wait = self._interval
        while not self._stopped.is_set():
            try:
                with _devices(nvml) as devices:
                    self._read(nvml, devices)
            except (nvml.NVMLError, LookupError) as error:
                died = bool(self._readings)
                self._readings = ()
                if died:
                    wait = self._interval
                    self._say(logging.WARNING, "GPU readings died", reason=str(error))
                else:
                    self._say(logging.INFO, "GPU readings unavailable", reason=str(error))
            self._stopped.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def _read(self, nvml: Any, devices: Sequence[Any]) -> None:
        """Record readings of `devices` until stopped; raises NVMLError once the driver fails."""
        while not self._stopped.is_set():
            busy = _of_each(nvml, devices, lambda device: nvml.nvmlDeviceGetUtilizationRates(device).gpu)
            used = _of_each(nvml, devices, lambda device: nvml.nvmlDeviceGetMemoryInfo(device).used)
            self.record(fmean(busy) if busy else None, sum(used) if used else None)
            supported = {"utilization": busy is not None, "memory": used is not None}
            self._say(logging.INFO, "GPU readings begin", devices=len(devices), supported=supported)
            self._stopped.wait(self._interval)

    def _say(self, level: int, message: str, **fields: object) -> None:
        """Log what changed: the same line is not logged twice in a row."""
        if self._said != (message, fields):
            log.log(level, message, extra=fields)
        self._said = (message, fields)


@contextmanager
def _devices(nvml: Any) -> Iterator[list[Any]]:
    """Give the handles of all visible devices, of which there is at least one; raises NVMLError or LookupError."""
    nvml.nvmlInit()
    try:
        handles = [_handle(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
        devices = [handle for handle in handles if handle is not None]
        if not devices:
            raise LookupError("no device")
        yield devices
    finally:
        with suppress(nvml.NVMLError):  # a driver that died may refuse this too
            nvml.nvmlShutdown()


def _handle(nvml: Any, index: int) -> Any | None:
    """Return the handle of a device, None for one that is not the pod's, which NVML counts all the same."""
    try:
        return nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError_NoPermission:
        return None


def _of_each(nvml: Any, devices: Sequence[Any], read: Callable[[Any], int]) -> list[int] | None:
    """Return `read` of each device, None if one cannot say: a mean or sum over the others would mislead."""
    try:
        return [read(device) for device in devices]
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_NoPermission):  # MIG mode; unified memory
        return None
