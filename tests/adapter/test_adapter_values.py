"""Metric values: from the pods' own words to the answer that the HPA reads."""

import time
from typing import Any

import pytest

from service.adapter import kube
from tests.adapter.cluster import Cluster, values
from tests.adapter.standins import pod

pytestmark = pytest.mark.anyio

FIVE = "tfpod_requests_per_second 5\n"


async def test_each_pod_is_named_with_its_value(cluster: Cluster) -> None:
    await cluster.pod("a", "tfpod_requests_per_second 1.5\n")
    await cluster.pod("b", FIVE)
    assert values(await cluster.metric()) == {"a": "1500m", "b": "5"}


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("v1beta2", {"metric": {"name": "tfpod_queue_rows", "selector": None}}),
        ("v1beta1", {"metricName": "tfpod_queue_rows", "selector": None}),
    ],
)
async def test_the_answer_has_the_shape_of_the_version_asked_for(
    cluster: Cluster, version: str, name: dict[str, Any]
) -> None:
    await cluster.pod("a", "tfpod_queue_rows 3\n")
    before = int(time.time())
    answer = await cluster.get(f"/apis/custom.metrics.k8s.io/{version}/namespaces/web/pods/*/tfpod_queue_rows")
    assert answer.headers["content-type"] == "application/json"
    (item,) = answer.json()["items"]
    stamp = item.pop("timestamp")
    assert any(stamp == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(before + late)) for late in range(60))
    assert answer.json() | {"items": [item]} == {
        "kind": "MetricValueList",
        "apiVersion": f"custom.metrics.k8s.io/{version}",
        "metadata": {},
        "items": [
            {
                "describedObject": {"kind": "Pod", "namespace": "web", "name": "a", "apiVersion": "v1"},
                **name,
                "value": "3",
            }
        ],
    }


async def test_a_pod_may_be_asked_for_by_name(cluster: Cluster) -> None:
    await cluster.pod("a", FIVE)
    other = await cluster.pod("b", FIVE)
    answer = await cluster.get("/apis/custom.metrics.k8s.io/v1beta2/namespaces/web/pods/a/tfpod_requests_per_second")
    assert values(answer) == {"a": "5"}
    assert not other.requests


async def test_only_pods_of_the_namespace_and_the_selector_are_asked(cluster: Cluster) -> None:
    await cluster.pod("a", FIVE)
    others = [
        await cluster.pod("b", FIVE, metadata={"namespace": "other"}),
        await cluster.pod("c", FIVE, metadata={"labels": {"app": "database"}}),
    ]
    assert values(await cluster.metric()) == {"a": "5"}
    assert not any(other.requests for other in others)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
        {"status": {"conditions": None}},
        {"status": {"phase": "Pending"}},
        {"status": {"podIP": ""}},
        {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
        {"spec": {"hostNetwork": True}},
        {"spec": {"containers": [{"name": "server", "ports": [{"containerPort": 9000}]}]}},
    ],
    ids=["unready", "no-conditions", "pending", "no-address", "terminating", "host-network", "no-port-of-that-name"],
)
async def test_a_pod_that_does_not_serve_is_left_out_and_not_asked(cluster: Cluster, changes: dict[str, Any]) -> None:
    await cluster.pod("a", FIVE)
    other = await cluster.pod("b", FIVE, **changes)
    assert values(await cluster.metric()) == {"a": "5"}
    assert not other.requests


async def test_nothing_to_answer_is_not_found_and_says_what_was_sought(cluster: Cluster) -> None:
    answer = await cluster.metric()
    assert answer.status_code == 404
    assert answer.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "no ready pod gives the metric 'tfpod_requests_per_second': "
        "pods '*' with selector 'app=model' in namespace 'web'",
        "reason": "NotFound",
        "code": 404,
    }


@pytest.mark.parametrize(
    "path",
    [
        "v1beta2/namespaces/web/pods/*/container_cpu",
        "v1beta2/namespaces/web/services/*/tfpod_queue_rows",
        "v1beta2/namespaces/web/metrics/tfpod_queue_rows",
        "v1beta2/namespaces/web/pods/*/tfpod_queue_rows/more",
        "v1beta2/namespaces/../pods/*/tfpod_queue_rows",
        "v1beta2/namespaces/%2e%2e/pods/*/tfpod_queue_rows",
        "v1beta2/namespaces/a%3Fb/pods/*/tfpod_queue_rows",
        "v1beta2/namespaces/web/pods/a,status.phase=Failed/tfpod_queue_rows",
        "v1beta2/nodes/*/tfpod_queue_rows",
        "v1/namespaces/web/pods/*/tfpod_queue_rows",
        "v1beta2/",
    ],
)
async def test_what_is_not_served_is_not_found_and_asks_nobody(cluster: Cluster, path: str) -> None:
    answer = await cluster.get(f"/apis/custom.metrics.k8s.io/{path}")
    assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound")
    assert not cluster.api.reviews
    assert not cluster.api.lists


async def test_only_get_is_allowed(cluster: Cluster) -> None:
    async with cluster.client(cluster.front_proxy) as client:
        answer = await client.delete("/apis/custom.metrics.k8s.io", headers={"X-Remote-User": "alice"})
    assert (answer.status_code, answer.json()["reason"]) == (405, "MethodNotAllowed")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"metricLabelSelector": "model=digits"}, "metricLabelSelector is not supported"),
        ({"fieldSelector": "metadata.name=a"}, "fieldSelector is not supported"),
        ({"labelSelector": "a" * 4097}, "longer than 4096"),
        ({"labelSelector": "!!"}, "unable to parse requirement"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_a_bad_request(
    cluster: Cluster, params: dict[str, str], message: str
) -> None:
    answer = await cluster.metric(**params)
    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")
    assert message in answer.json()["message"]


async def test_an_empty_metric_selector_selects_all(cluster: Cluster) -> None:
    """So the HPA sends it."""
    await cluster.pod("a", FIVE)
    assert values(await cluster.metric(labelSelector="app=model", metricLabelSelector="")) == {"a": "5"}


async def test_many_pods_are_listed_page_by_page(cluster: Cluster) -> None:
    answer = await cluster.pod("a", FIVE)
    cluster.api.pods = [pod(f"p{number:03}", answer.address) for number in range(250)]
    assert len(values(await cluster.metric())) == 250
    assert [query.get("continue") for query in cluster.api.lists] == [None, "100", "200"]


async def test_too_many_pods_are_a_bad_request(cluster: Cluster) -> None:
    cluster.api.pods = [pod(f"p{number}") for number in range(kube.MAX_PODS + 1)]
    answer = await cluster.metric()
    assert answer.status_code == 400
    assert "more than 1000 pods" in answer.json()["message"]
