"""Every metric of the pod, in one class; label values exist from the start, so that a first event is no new series."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.counters import Counter, Histogram

#: Seconds that the means below look back: one period of the HorizontalPodAutoscaler.
WINDOW: Final = 15.0
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
REASONS: Final = (
    *("unauthenticated", "permission_denied", "too_large", "overloaded", "not_ready"),
    *("incomplete", "deadline", "client_gone"),
)
#: What became of a version that was to be loaded.
LOADS: Final = ("ok", "failed")
#: Routes that do no inference share one label value.
OTHER: Final = "other"

_STATUSES: Final = (200, 400, 401, 403, 404, 405, 408, 413, 415, 429, 499, 500, 501, 503, 504)
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_GAUGES: Final = {
    "tfpod_requests_per_second": "Inference requests that arrived, a second, mean of the last 15 s.",
    "tfpod_inflight_requests": "Inference requests let in whose answer has not been sent.",
    "tfpod_queue_rows": "Rows that wait for a model.",
    "tfpod_queue_bytes": "Bytes of inputs that wait for a model.",
    "tfpod_model_running_seconds": "Age of the oldest batch under way, else 0: it grows while a model hangs.",
    "tfpod_model_busy_percent": "Share of the last 15 s in which the busiest model computed.",
    "tfpod_gpu_utilization_percent": "Use of the pod's GPUs, mean of 15 s or what 3 s held; absent if unknown.",
    "tfpod_gpu_memory_used_bytes": "Memory used on the pod's GPUs; absent if unknown.",
}

Gauge = Callable[[], float | None]


class Window:
    """A sum over the last 15 seconds, in half-second steps.

    The step under way counts although it is not over: the mean errs on the low side, by at most 1/30, so that jitter
    at an exact multiple of the target asks for no pod too many.
    """

    _STEPS: Final = 30

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sums = [0.0] * self._STEPS
        #: The step under way, its place among the sums, and when it ends.
        self._step = self._place = 0
        self._ends = 0.0

    def add(self, value: float) -> None:
        """Count `value` now."""
        now = self._clock()
        if now >= self._ends:
            self._turn(int(now * self._STEPS / WINDOW))
        self._sums[self._place] += value

    def mean(self) -> float:
        """Return the sum of the last 15 s, divided by 15."""
        self.add(0.0)
        return sum(self._sums) / WINDOW

    def _turn(self, now: int) -> None:
        """Begin a step, and forget those whose places it and those before it take."""
        for step in range(max(self._step, now - self._STEPS) + 1, now + 1):
            self._sums[step % self._STEPS] = 0.0
        self._step, self._place, self._ends = now, now % self._STEPS, (now + 1) * WINDOW / self._STEPS


class ModelMetrics:
    """What is reported of one model, by its batchers and by what loads it."""

    def __init__(self, metrics: "Metrics", name: str, clock: Callable[[], float]) -> None:
        self.queue_seconds = metrics.queue_seconds.labels(name)
        self.batch_rows = metrics.batch_rows.labels(name)
        self.seconds = metrics.model_seconds.labels(name)
        self.padding = metrics.padding_rows.labels(name)
        self.failed_runs = metrics.failed_runs.labels(name)
        self.loads = {result: metrics.model_loads.labels(name, result) for result in LOADS}
        self.version = metrics.model_version.labels(name)
        self._busy = Window(clock)

    def computed(self, rows: int, seconds: float, busy: float, padding: int = 0, *, failed: bool = False) -> None:
        """Count a finished run on `rows` and `padding` more that took `seconds`, `busy` of them no other run beside."""
        self.batch_rows.observe(rows)
        self.seconds.observe(seconds)
        self._busy.add(busy)
        self.padding.inc(padding)
        self.failed_runs.inc(failed)

    def busy_percent(self, running_for: float = 0.0) -> float:
        """Return the busy share of the last 15 s; `running_for`: age of the batch under way in seconds."""
        return min(100.0, 100.0 * (self._busy.mean() + running_for / WINDOW))


class Metrics(Collector):
    """Counters and histograms of the pod; gauges are read when they are asked for, from what `watch` was given."""

    def __init__(
        self, registry: CollectorRegistry, routes: Iterable[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            registry.register(family := Counter(name, text, labels))
            return family

        def histogram(name: str, text: str, label: str, bounds: tuple[float, ...]) -> Histogram:
            registry.register(family := Histogram(name, text, (label,), bounds))
            return family

        self._registry, self._clock, self._arrivals = registry, clock, Window(clock)
        self._gauges: dict[str, Gauge] = {"tfpod_requests_per_second": self._arrivals.mean}
        requests = counter("tfpod_requests_total", "Inference requests that arrived and were let in by token.", "route")
        rejected = counter("tfpod_rejected_total", "Requests that got no prediction, by reason.", "reason")
        responses = counter("tfpod_responses_total", "Answers by status.", "route", "code")
        seconds = histogram("tfpod_request_seconds", "From the head read to the answer sent.", "route", _SECONDS)
        self.queue_seconds = histogram("tfpod_queue_seconds", "Rows' wait for the model.", "model", _SECONDS)
        self.model_seconds = histogram("tfpod_model_seconds", "Computing one batch.", "model", _SECONDS)
        self.batch_rows = histogram("tfpod_batch_rows", "Rows of one batch.", "model", _ROWS)
        self.padding_rows = counter("tfpod_padding_rows_total", "Rows added up to an allowed size.", "model")
        self.failed_runs = counter("tfpod_failed_runs_total", "Runs of the model that raised an error.", "model")
        self.model_loads = counter("tfpod_model_loads_total", "Versions that were to be loaded.", "model", "result")
        self.model_version = prometheus_client.Gauge(
            "tfpod_model_version",
            "The newest version that is served; 0 before the first.",
            ("model",),
            registry=registry,
        )
        routes = (*routes, OTHER)
        self._requests = {route: requests.labels(route) for route in routes if route != OTHER}
        self._rejected = {reason: rejected.labels(reason) for reason in REASONS}
        self._responses = {(r, s): responses.labels(r, str(s)) for r in routes for s in (*_STATUSES, OTHER)}
        self._seconds = {route: seconds.labels(route) for route in routes}
        registry.register(self)

    def watch(self, name: str, gauge: Gauge) -> None:
        """Read gauge `name` from `gauge` whenever it is asked for; None means: no sample."""
        if name not in _GAUGES:
            raise KeyError(name)
        self._gauges[name] = gauge

    def model(self, name: str) -> ModelMetrics:
        """Return the metrics of the model `name`."""
        return ModelMetrics(self, name, self._clock)

    def arrived(self, route: str) -> None:
        """Count an inference request, known to be allowed, before anything else is decided about it."""
        self._requests[route].inc()
        self._arrivals.add(1.0)

    def rejected(self, reason: str) -> None:
        """Count a request that got no prediction."""
        self._rejected[reason].inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer that was sent, `seconds` after its request's head was read."""
        (self._responses.get((route, status)) or self._responses[route, OTHER]).inc()
        self._seconds[route].observe(seconds)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges that have a value at this moment (prometheus_client's collector protocol)."""
        for name, gauge in self._gauges.items():
            value = gauge()
            if value is not None:
                yield GaugeMetricFamily(name, _GAUGES[name], value=value)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)
