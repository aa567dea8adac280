"""Discovery documents, quantities, and what is understood of Prometheus text."""

import json

import pytest

from service.adapter.answers import METRICS, group, groups, quantity, resources
from service.adapter.scrape import parse


def test_discovery_names_every_metric_of_a_version() -> None:
    assert resources("v1beta1") == {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": "custom.metrics.k8s.io/v1beta1",
        "resources": [
            {
                "name": f"pods/{metric}",
                "singularName": "",
                "namespaced": True,
                "kind": "MetricValueList",
                "verbs": ["get"],
            }
            for metric in METRICS
        ],
    }


def test_the_group_prefers_the_newer_version() -> None:
    newer = {"groupVersion": "custom.metrics.k8s.io/v1beta2", "version": "v1beta2"}
    older = {"groupVersion": "custom.metrics.k8s.io/v1beta1", "version": "v1beta1"}
    described = {"name": "custom.metrics.k8s.io", "versions": [newer, older], "preferredVersion": newer}
    assert group() == {"kind": "APIGroup", "apiVersion": "v1"} | described
    assert groups() == {"kind": "APIGroupList", "apiVersion": "v1", "groups": [described]}
    assert json.dumps(groups())


@pytest.mark.parametrize(
    ("milli", "text"),
    [(0, "0"), (1, "1m"), (1500, "1500m"), (2000, "2"), (10**6, "1000"), (2**63 - 1, f"{2**63 - 1}m")],
)
def test_a_quantity_is_whole_where_it_can_be(milli: int, text: str) -> None:
    assert quantity(milli) == text


@pytest.mark.parametrize(
    ("value", "milli"),
    [
        ("0", 0),
        ("0.0", 0),
        ("-0.0", 0),
        ("1.5", 1500),
        ("19.6", 19600),
        ("0.0666666666666667", 67),
        ("0.30000000000000004", 300),
        ("1e3", 1000000),
        ("+7", 7000),
        ("99.5 1700000000000", 99500),
        ("9e15", 9 * 10**18),
    ],
)
def test_a_value_is_taken_to_the_thousandth(value: str, milli: int) -> None:
    assert parse(f"tfpod_queue_rows {value}\n") == {"tfpod_queue_rows": milli}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1", "1e16", "1e999999", "five", "0x10", "\u0665x"])
def test_a_value_that_is_no_count_is_no_value(value: str) -> None:
    assert parse(f"tfpod_queue_rows {value}\n") == {}


def test_comments_other_metrics_and_series_with_labels_are_passed_over() -> None:
    text = """\
# HELP tfpod_queue_rows 1
# TYPE tfpod_queue_rows gauge
tfpod_queue_rows_total 2
my_tfpod_queue_rows 3
 tfpod_queue_rows 4
tfpod_queue_rows{model="digits"} 5
tfpod_inflight_requests{} 6
tfpod_model_busy_percent\t7\r
tfpod_gpu_utilization_percent
8
tfpod_requests_per_second 9"""
    assert parse(text) == {
        "tfpod_inflight_requests": 6000,
        "tfpod_model_busy_percent": 7000,
        "tfpod_requests_per_second": 9000,
    }
