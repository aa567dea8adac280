"""How many pods there are: the HPA, its metrics, and what happens to pods on the way."""

from typing import Any

import pytest

from tests.chart import helm

GPU = "tfpod_gpu_utilization_percent"
RATE = "tfpod_requests_per_second"


@pytest.mark.parametrize(
    ("values", "metrics"),
    [
        ([], {RATE: "100"}),
        (["gpu.count=1"], {RATE: "100", GPU: "60"}),
        (["gpu.count=2", "gpu.resourceName=amd.com/gpu"], {RATE: "100", GPU: "60"}),
        (['json:resources.limits={"nvidia.com/gpu": 1}'], {RATE: "100", GPU: "60"}),
        (["gpu.count=1", "autoscaling.gpuUtilization=null"], {RATE: "100"}),
        (["gpu.count=1", "autoscaling.requestsPerSecond=null"], {GPU: "60"}),
        (["autoscaling.forceGpuMetric=true"], {RATE: "100", GPU: "60"}),
        (["autoscaling.requestsPerSecond=2.5"], {RATE: "2.5"}),
    ],
)
def test_the_hpa_asks_for_the_gpu_exactly_when_the_pods_have_one(values: list[str], metrics: dict[str, str]) -> None:
    hpa = helm.one(helm.render(*values), "HorizontalPodAutoscaler")
    pods = [metric["pods"] for metric in hpa["spec"]["metrics"]]
    assert {pod["metric"]["name"]: pod["target"]["averageValue"] for pod in pods} == metrics
    assert {pod["target"]["type"] for pod in pods} == {"AverageValue"}


def test_the_hpa_grows_at_once_and_shrinks_slowly_unless_told_otherwise() -> None:
    def behavior(*values: str) -> Any:
        return helm.one(helm.render(*values), "HorizontalPodAutoscaler")["spec"]["behavior"]

    assert behavior()["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior()["scaleDown"]["stabilizationWindowSeconds"] == 300
    changed = behavior(
        "autoscaling.behavior.scaleDown.stabilizationWindowSeconds=60", "autoscaling.behavior.scaleUp=null"
    )
    assert changed["scaleDown"]["stabilizationWindowSeconds"] == 60
    assert "scaleUp" not in changed


@pytest.mark.parametrize(
    ("values", "replicas", "hpa"),
    [
        ([], None, True),
        (["autoscaling.metricsSource=prometheus-adapter"], None, True),
        (["autoscaling.metricsSource=none"], None, False),
        (["autoscaling.enabled=false", "replicas=3"], 3, False),
    ],
)
def test_replicas_are_stated_only_where_nothing_else_scales(values: list[str], replicas: int | None, hpa: bool) -> None:
    manifests = helm.render(*values)
    assert helm.one(manifests, "Deployment")["spec"].get("replicas") == replicas
    assert ("HorizontalPodAutoscaler" in helm.kinds(manifests)) is hpa


@pytest.mark.parametrize(
    "value",
    [
        "autoscaling.metricsSource=prometheus-adapter",
        "autoscaling.metricsSource=none",
        "autoscaling.enabled=false",
        "adapter.enabled=false",
    ],
)
def test_the_adapter_is_left_out_where_nobody_asks_it(value: str) -> None:
    manifests = helm.render(value)
    assert not [m for m in manifests if "adapter" in m["metadata"]["name"]]
    assert "APIService" not in helm.kinds(manifests)


@pytest.mark.parametrize(
    ("values", "made"),
    [
        ([], True),
        (["autoscaling.minReplicas=1", "autoscaling.maxReplicas=1"], False),
        (["autoscaling.enabled=false"], False),
        (["autoscaling.enabled=false", "replicas=2"], True),
        (["podDisruptionBudget.enabled=false"], False),
    ],
)
def test_a_disruption_budget_is_made_where_there_can_be_two_pods(values: list[str], made: bool) -> None:
    manifests = [m for m in helm.render(*values, "adapter.enabled=false") if m["kind"] == "PodDisruptionBudget"]
    assert bool(manifests) is made
    assert all(m["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" for m in manifests)


def test_a_rollout_takes_no_pod_away_before_its_successor_is_ready() -> None:
    strategy = helm.one(helm.render(), "Deployment")["spec"]["strategy"]
    assert strategy["rollingUpdate"]["maxUnavailable"] == 0


def test_a_deployment_that_is_recreated_has_no_rolling_rules() -> None:
    assert helm.one(helm.render("strategy.type=Recreate"), "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
