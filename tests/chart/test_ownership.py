"""A cluster serves custom.metrics.k8s.io once: who installs the adapter, who relies on it, and who may take it away."""

import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

from tests.chart import helm
from tests.chart.apiserver import api_service, installed, plan

GROUP = "custom.metrics.k8s.io"
ADAPTER = {
    "kind": "Deployment",
    "apiVersion": "apps/v1",
    "metadata": {"name": "demo-tfpod-adapter", "namespace": "apps"},
}


def adapter_of(release: str, namespace: str = "apps") -> list[helm.Manifest]:
    """Return the APIServices that a release of tfpod installed."""
    names = [f"{version}.{GROUP}" for version in ("v1beta1", "v1beta2")]
    return [installed(api_service(name), release, namespace, name="tfpod-adapter") for name in names]


def refusal(*values: str, cluster: list[helm.Manifest], chart: Path = helm.CHART) -> str:
    """Return the message with which the installation is refused."""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        plan(*values, cluster=cluster, chart=chart)
    return str(caught.value.stderr)


def autoscaler(name: str, namespace: str, metric: str) -> helm.Manifest:
    """Return an HPA."""
    metrics = [{"type": "Pods", "pods": {"metric": {"name": metric}}}]
    kind = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    return {**kind, "metadata": {"name": name, "namespace": namespace}, "spec": {"metrics": metrics}}


@pytest.mark.parametrize("cluster", [[], adapter_of("demo")], ids=["free", "ours"])
@pytest.mark.parametrize("source", ["auto", "builtin"])
def test_the_adapter_is_installed_where_the_api_is_free_or_our_own(cluster: list[helm.Manifest], source: str) -> None:
    manifests, notes = plan(f"autoscaling.metricsSource={source}", cluster=cluster)
    names = {m["metadata"]["name"] for m in manifests if m["kind"] == "APIService"}
    assert names == {f"v1beta1.{GROUP}", f"v1beta2.{GROUP}"}
    assert "This release's adapter" in notes


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2", "v1"])
@pytest.mark.parametrize("release", ["", "prometheus-adapter"])
def test_the_api_is_never_taken_from_somebody_else(version: str, release: str) -> None:
    holder = api_service(f"{version}.{GROUP}")
    manifests, notes = plan(cluster=[installed(holder, release) if release else holder])
    assert "APIService" not in helm.kinds(manifests)
    assert not [m for m in manifests if "adapter" in m["metadata"]["name"]]
    assert "HorizontalPodAutoscaler" in helm.kinds(manifests)
    assert "already belongs to another program" in notes
    assert "kubectl get --raw" in notes


@pytest.mark.parametrize("source", ["auto", "builtin"])
@pytest.mark.parametrize("first", [("first", "apps"), ("demo", "elsewhere")])
def test_a_second_release_relies_on_the_first_ones_adapter(source: str, first: tuple[str, str]) -> None:
    """A release of the same name in another namespace is another release."""
    manifests, notes = plan(f"autoscaling.metricsSource={source}", cluster=adapter_of(*first))
    assert "APIService" not in helm.kinds(manifests)
    assert "another tfpod release" in notes


def test_a_foreign_version_beside_ours_counts_as_foreign() -> None:
    for cluster in (
        [*adapter_of("first"), api_service(f"v1.{GROUP}")],
        [api_service(f"v1.{GROUP}"), *adapter_of("first")],
    ):
        assert "already belongs to another program" in plan(cluster=cluster)[1]


def test_insisting_on_the_adapter_names_who_holds_the_api() -> None:
    foreign = installed(api_service(f"v1beta1.{GROUP}"), "prometheus-adapter", "monitoring")
    message = refusal("autoscaling.metricsSource=builtin", cluster=[foreign])
    assert f"APIService v1beta1.{GROUP} of release prometheus-adapter in namespace monitoring" in message


@pytest.mark.parametrize("holder", [adapter_of("first"), [api_service(f"v1beta1.{GROUP}")]], ids=["tfpod", "foreign"])
def test_a_second_adapter_release_is_refused(holder: list[helm.Manifest]) -> None:
    assert "is already served by APIService" in refusal(cluster=holder, chart=helm.ADAPTER)


@pytest.mark.parametrize("value", ["autoscaling.enabled=false", "adapter.enabled=false"])
def test_an_upgrade_may_not_remove_the_adapter_while_others_rely_on_it(value: str) -> None:
    cluster = [*adapter_of("demo"), ADAPTER, autoscaler("two", "b", "tfpod_requests_per_second")]
    assert "other HPAs rely on it: b/two" in refusal(value, cluster=cluster)


@pytest.mark.parametrize(
    "hpa",
    [
        installed(autoscaler("demo-tfpod", "apps", "tfpod_requests_per_second"), "demo"),
        autoscaler("two", "b", "http_requests"),
    ],
    ids=["our own", "of other metrics"],
)
def test_an_upgrade_may_remove_an_adapter_that_nobody_else_needs(hpa: helm.Manifest) -> None:
    manifests, _ = plan("adapter.enabled=false", cluster=[*adapter_of("demo"), ADAPTER, hpa])
    assert "APIService" not in helm.kinds(manifests)


def test_an_upgrade_keeps_the_certificate() -> None:
    kept = {key: b64encode(key.encode()).decode() for key in ("ca.crt", "tls.crt", "tls.key")}
    metadata = {"name": "demo-tfpod-adapter-tls", "namespace": "apps"}
    secret = installed({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": kept}, "demo")
    manifests, _ = plan(cluster=[*adapter_of("demo"), secret])
    assert helm.one(manifests, "Secret", "demo-tfpod-adapter-tls")["data"] == kept
    bundles = {m["spec"]["caBundle"] for m in manifests if m["kind"] == "APIService"}
    assert bundles == {kept["ca.crt"]}


def test_rendering_blindly_where_the_api_is_served_needs_a_decision() -> None:
    """`helm template`, as GitOps tools run it, cannot see whose API it is: neither taking it nor leaving it is safe."""
    served = [f"--api-versions={GROUP}/v1beta1"]
    with pytest.raises(subprocess.CalledProcessError) as caught:
        helm.render(options=served)
    assert "Set autoscaling.metricsSource to builtin" in caught.value.stderr
    assert "APIService" in helm.kinds(helm.render("autoscaling.metricsSource=builtin", options=served))
    assert "APIService" not in helm.kinds(helm.render("autoscaling.metricsSource=prometheus-adapter", options=served))
