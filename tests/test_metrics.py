"""service/metrics.py: what is exposed from the start, and what the means over 15 seconds are."""

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import LOADS, OTHER, REASONS, WINDOW, Metrics, ModelMetrics, Window
from tests.clock import Clock

#: The names that dashboards, autoscalers and outside tests use, with their types.
NAMES = {
    "tfpod_requests_total": "counter",
    "tfpod_requests_per_second": "gauge",
    "tfpod_responses_total": "counter",
    "tfpod_rejected_total": "counter",
    "tfpod_request_seconds": "histogram",
    "tfpod_inflight_requests": "gauge",
    "tfpod_queue_rows": "gauge",
    "tfpod_queue_bytes": "gauge",
    "tfpod_queue_seconds": "histogram",
    "tfpod_batch_rows": "histogram",
    "tfpod_padding_rows_total": "counter",
    "tfpod_failed_runs_total": "counter",
    "tfpod_model_seconds": "histogram",
    "tfpod_model_running_seconds": "gauge",
    "tfpod_model_loads_total": "counter",
    "tfpod_model_version": "gauge",
    "tfpod_model_busy_percent": "gauge",
    "tfpod_gpu_utilization_percent": "gauge",
    "tfpod_gpu_memory_used_bytes": "gauge",
}
OWN = {"tfpod_requests_per_second", "tfpod_model_version"}  # needs nobody to be asked
GAUGES = sorted(name for name, kind in NAMES.items() if kind == "gauge" and name not in OWN)


@pytest.fixture
def metrics(clock: Clock) -> Metrics:
    return Metrics(CollectorRegistry(), ["predict", "infer"], clock)


def samples(metrics: Metrics) -> dict[str, float]:
    """Return the exposition's samples as `name{label="value"}: value`."""
    lines = [line for line in metrics.render().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_names_and_types_are_those_that_others_rely_on(metrics: Metrics) -> None:
    for name in GAUGES:
        metrics.watch(name, lambda: 1.0)
    metrics.model("m")
    families = list(text_string_to_metric_families(metrics.render().decode()))
    suffixes = {"counter": "_total"}
    assert {family.name + suffixes.get(family.type, ""): family.type for family in families} == NAMES
    assert all(family.documentation for family in families)


def test_every_label_value_is_there_before_anything_happens(metrics: Metrics) -> None:
    metrics.model("m")
    before = samples(metrics)
    for route in ("predict", "infer"):
        metrics.arrived(route)
    for reason in REASONS:
        metrics.rejected(reason)
    for route in ("predict", "infer", OTHER):
        for status in (200, 400, 401, 403, 404, 405, 408, 413, 415, 429, 499, 500, 501, 503, 504):
            metrics.answered(route, status, 0.1)
    metrics.model("m").computed(1, 0.1, 0.1, padding=1, failed=True)
    for result in LOADS:
        metrics.model("m").loads[result].inc()
    after = samples(metrics)
    assert list(before) == list(after)
    counted = [name for name in after if "_total{" in name and f'code="{OTHER}"' not in name]
    assert counted
    assert all(after[name] == before[name] + 1 for name in counted)


def test_a_status_that_nobody_thought_of_is_no_new_series(metrics: Metrics) -> None:
    metrics.answered("predict", 418, 0.1)
    assert samples(metrics)[f'tfpod_responses_total{{code="{OTHER}",route="predict"}}'] == 1


def test_what_is_unknown_is_a_fault_of_the_caller(metrics: Metrics) -> None:
    with pytest.raises(KeyError):
        metrics.arrived("no")
    with pytest.raises(KeyError):
        metrics.rejected("no")
    with pytest.raises(KeyError):
        metrics.watch("tfpod_no", lambda: 1.0)


def test_there_is_no_time_of_creation(metrics: Metrics) -> None:
    metrics.model("m")
    metrics.arrived("predict")
    assert b"_created" not in metrics.render()


def test_a_gauge_without_a_value_has_no_sample(metrics: Metrics) -> None:
    values: list[float | None] = [None, 0.0, 5.5, None]
    metrics.watch("tfpod_gpu_utilization_percent", lambda: values[0])
    for expected in list(values):
        assert samples(metrics).get("tfpod_gpu_utilization_percent") == expected
        assert (b"tfpod_gpu_utilization_percent" in metrics.render()) is (expected is not None)
        values.pop(0)
        values.append(None)


def test_seconds_fall_into_buckets(metrics: Metrics) -> None:
    for seconds in (0.0005, 0.3, 99.0):
        metrics.answered("predict", 200, seconds)
    found = samples(metrics)
    assert found['tfpod_request_seconds_bucket{le="0.001",route="predict"}'] == 1
    assert found['tfpod_request_seconds_bucket{le="30.0",route="predict"}'] == 2
    assert found['tfpod_request_seconds_bucket{le="+Inf",route="predict"}'] == 3
    assert found['tfpod_request_seconds_count{route="infer"}'] == 0


def test_requests_per_second_is_the_mean_of_the_last_15_seconds(metrics: Metrics, clock: Clock) -> None:
    assert samples(metrics)["tfpod_requests_per_second"] == 0
    for _ in range(30):
        metrics.arrived("predict")
    assert samples(metrics)["tfpod_requests_per_second"] == 30 / WINDOW
    clock.now += 15.0
    assert samples(metrics)["tfpod_requests_per_second"] == 0
    assert samples(metrics)['tfpod_requests_total{route="predict"}'] == 30


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.4999])
def test_a_value_counts_for_14_and_a_half_to_15_seconds(clock: Clock, offset: float) -> None:
    clock.now += offset
    window = Window(clock)
    window.add(15.0)
    clock.now = 1014.9999
    assert window.mean() == 1.0
    clock.now = 1015.0
    assert window.mean() == 0.0


def test_each_value_is_forgotten_by_itself(clock: Clock) -> None:
    window = Window(clock)
    for _ in range(60):
        window.add(1.0)
        clock.now += 0.5
    assert window.mean() == 29 / WINDOW
    for forgotten in range(1, 30):
        clock.now += 0.5
        assert window.mean() == (29 - forgotten) / WINDOW


@pytest.mark.parametrize("idle", [15.0, 15.5, 29.9, 30.0, 1e6, 1e9])
def test_after_a_long_idle_time_nothing_is_left(clock: Clock, idle: float) -> None:
    window = Window(clock)
    for _ in range(100):
        window.add(1.0)
        clock.now += 0.21
    clock.now += idle
    assert window.mean() == 0.0
    window.add(3.0)
    assert window.mean() == 3.0 / WINDOW


def test_the_mean_of_a_steady_rate_errs_by_a_thirtieth_at_most_and_never_upwards(clock: Clock) -> None:
    random = np.random.default_rng(1)
    window = Window(clock)
    for count in range(60_000):
        clock.now = 1000.0 + count / 1000
        window.add(1.0)
        if count > 15_000 and random.integers(100) == 0:
            assert 1000 * 29 / 30 <= window.mean() <= 1000


@pytest.fixture
def model(metrics: Metrics) -> ModelMetrics:
    return metrics.model("m")


def test_busy_is_the_share_of_time_that_the_model_computed(model: ModelMetrics, clock: Clock) -> None:
    assert model.busy_percent() == 0
    model.computed(4, 1.5, 1.5)
    assert model.busy_percent() == pytest.approx(10)
    assert model.busy_percent(running_for=3.0) == pytest.approx(30)
    clock.now += 15
    assert model.busy_percent() == 0


def test_a_model_is_never_busier_than_all_the_time(model: ModelMetrics) -> None:
    model.computed(1, 40.0, 40.0)
    assert model.busy_percent(running_for=40.0) == 100


def test_batches_are_counted_by_model(metrics: Metrics, model: ModelMetrics) -> None:
    model.computed(3, 0.02, 0.02, padding=5, failed=True)
    metrics.model("other")
    found = samples(metrics)
    assert (found['tfpod_padding_rows_total{model="m"}'], found['tfpod_failed_runs_total{model="m"}']) == (5, 1)
    assert found['tfpod_batch_rows_sum{model="m"}'] == 3
    assert found['tfpod_model_seconds_sum{model="m"}'] == 0.02
    assert found['tfpod_batch_rows_count{model="other"}'] == 0
