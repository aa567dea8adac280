"""service/counters.py: what is exposed is what prometheus_client's own counters and histograms would expose."""

from itertools import product

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest

from service.counters import Counter, Histogram

BOUNDS = (0.001, 0.5, 1.0, 10.0)


@pytest.fixture(autouse=True)
def created() -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]  # ours have none


def test_counters_look_as_those_of_the_client_library() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counter = Counter("asked_total", "Requests.", ("route", "code"))
    ours.register(counter)
    reference = prometheus_client.Counter("asked_total", "Requests.", ("route", "code"), registry=theirs)
    for labels, amount in product([("a", "200"), ("b", "429")], (1, 0.5, 0)):
        counter.labels(*labels).inc(amount)
        reference.labels(*labels).inc(amount)
    assert generate_latest(ours) == generate_latest(theirs)


@pytest.mark.parametrize("values", [(), (0.0,), BOUNDS, (0.0005, 0.5000001, 11.0, 1e9, 1e-9)])
def test_histograms_look_as_those_of_the_client_library(values: tuple[float, ...]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram("took_seconds", "Time.", ("route",), BOUNDS)
    ours.register(histogram)
    reference = prometheus_client.Histogram("took_seconds", "Time.", ("route",), buckets=BOUNDS, registry=theirs)
    child, other = histogram.labels("a"), reference.labels("a")
    for value in values:
        child.observe(value)
        other.observe(value)
    assert generate_latest(ours) == generate_latest(theirs)


def test_a_child_is_exposed_from_the_moment_it_is_named_and_stays_the_same() -> None:
    counter = Counter("asked_total", "Requests.", ("route",))
    (family,) = counter.collect()
    assert family.samples == []
    counter.labels("a").inc()
    counter.labels("a").inc()
    (family,) = counter.collect()
    assert [(sample.labels, sample.value) for sample in family.samples] == [({"route": "a"}, 2.0)]
