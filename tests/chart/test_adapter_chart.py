"""What the chart tfpod-adapter makes of its values; as a part of tfpod and on its own."""

from base64 import b64decode, b64encode
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from service.adapter.settings import Settings
from service.settings import read
from tests.chart import helm

GROUP = "custom.metrics.k8s.io"
CERT_MANAGER = ["adapter.tls.mode=cert-manager"]
EXISTING = ["adapter.tls.mode=existingSecret", "adapter.tls.existingSecret=mine", "adapter.tls.caBundle=PEM"]


def api_services(*values: str) -> list[helm.Manifest]:
    """Return the chart's APIServices."""
    return [manifest for manifest in helm.render(*values) if manifest["kind"] == "APIService"]


@pytest.mark.parametrize("values", [[], CERT_MANAGER, EXISTING], ids=["helm", "cert-manager", "existingSecret"])
def test_both_versions_lead_to_the_service_and_the_newer_is_preferred(values: list[str]) -> None:
    specs = {service["metadata"]["name"]: service["spec"] for service in api_services(*values)}
    assert set(specs) == {f"v1beta1.{GROUP}", f"v1beta2.{GROUP}"}
    assert specs[f"v1beta2.{GROUP}"]["versionPriority"] > specs[f"v1beta1.{GROUP}"]["versionPriority"]
    for spec in specs.values():
        assert spec["service"] == {"name": "demo-tfpod-adapter", "namespace": "apps"}
        assert "insecureSkipTLSVerify" not in spec


def test_the_certificate_is_for_the_service_and_lasts_ten_years() -> None:
    manifests = helm.render()
    data = {
        key: b64decode(value) for key, value in helm.one(manifests, "Secret", "demo-tfpod-adapter-tls")["data"].items()
    }
    authority, certificate = (x509.load_pem_x509_certificate(data[key]) for key in ("ca.crt", "tls.crt"))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["demo-tfpod-adapter.apps.svc"]
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc >= timedelta(days=3650)
    certificate.verify_directly_issued_by(authority)
    assert isinstance(authority.public_key(), rsa.RSAPublicKey)
    bundles = [m["spec"]["caBundle"] for m in manifests if m["kind"] == "APIService"]
    assert [b64decode(bundle) for bundle in bundles] == [data["ca.crt"]] * 2


def test_cert_manager_issues_for_the_service_and_hands_its_authority_on() -> None:
    manifests = helm.render(*CERT_MANAGER)
    spec = helm.one(manifests, "Certificate", "demo-tfpod-adapter")["spec"]
    assert spec["dnsNames"] == ["demo-tfpod-adapter.apps.svc"]
    assert _mounted_secret(manifests) == spec["secretName"]
    for service in api_services(*CERT_MANAGER):
        assert service["metadata"]["annotations"] == {"cert-manager.io/inject-ca-from": "apps/demo-tfpod-adapter"}


def test_an_existing_secret_is_mounted_and_its_authority_trusted() -> None:
    manifests = helm.render(*EXISTING)
    assert _mounted_secret(manifests) == "mine"
    assert "Secret" not in helm.kinds(manifests)
    assert {service["spec"]["caBundle"] for service in api_services(*EXISTING)} == {b64encode(b"PEM").decode()}


@pytest.mark.parametrize("values", [CERT_MANAGER, EXISTING, ["adapter.enabled=false"]])
def test_rendering_twice_gives_the_same_bytes(values: list[str]) -> None:
    first, second = (helm.run("template", "demo", helm.CHART, *helm.sets(values)) for _ in range(2))
    assert first == second


def test_its_pods_may_list_pods_and_ask_who_may_do_what() -> None:
    manifests = helm.render()
    bindings = {
        (m["kind"], m["metadata"].get("namespace"), m["roleRef"]["name"])
        for m in manifests
        if "roleRef" in m and m["subjects"][0]["name"] == "demo-tfpod-adapter"
    }
    assert bindings == {
        ("ClusterRoleBinding", None, "tfpod-adapter:apps:demo"),
        ("ClusterRoleBinding", None, "system:auth-delegator"),
        ("RoleBinding", "kube-system", "extension-apiserver-authentication-reader"),
    }
    rules = helm.one(manifests, "ClusterRole", "tfpod-adapter:apps:demo")["rules"]
    assert rules == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]


def test_its_environment_and_files_are_where_the_program_looks() -> None:
    pod = helm.pods(helm.render("adapter.logLevel=debug"))["Deployment/demo-tfpod-adapter"]
    settings = read(Settings, helm.environment(pod), "TFPOD_ADAPTER_")
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"https": settings.port, "health": settings.health_port}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["tls"] == str(Path(settings.cert_file).parent) == str(Path(settings.key_file).parent)


def test_the_uninstall_job_knows_its_release_and_may_only_list_hpas() -> None:
    manifests = helm.render()
    job = helm.one(manifests, "Job", "demo-tfpod-adapter-uninstall")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    assert helm.environment(job["spec"]["template"]) == {"RELEASE": "demo", "REVISION": "1", "NAMESPACE": "apps"}
    rules = helm.one(manifests, "ClusterRole", "tfpod-adapter:apps:demo:uninstall")["rules"]
    assert rules == [{"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]}]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    compile(container["args"][0], "relied_on.py", "exec")


@pytest.mark.parametrize(("replicas", "made"), [(1, False), (2, True)])
def test_a_disruption_budget_keeps_one_of_two(replicas: int, made: bool) -> None:
    manifests = helm.render(f"adapter.replicas={replicas}")
    budgets = [m for m in manifests if m["kind"] == "PodDisruptionBudget" and "adapter" in m["metadata"]["name"]]
    assert bool(budgets) is made


def test_on_its_own_it_renders_the_same_objects() -> None:
    def names(manifests: list[helm.Manifest]) -> set[tuple[str, str]]:
        return {(m["kind"], m["metadata"]["name"]) for m in manifests}

    alone = names(helm.render(chart=helm.ADAPTER))
    assert len(alone) > 10
    assert alone <= names(helm.render())


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("tfpod", "tfpod-adapter"),
        ("tfpod-adapter", "tfpod-adapter"),
        ("demo", "demo-tfpod-adapter"),
        ("x" * 53, f"{'x' * 53}-t-adapter"),
    ],
)
def test_names_do_not_stutter_and_fit(release: str, name: str) -> None:
    manifests = helm.render(chart=helm.ADAPTER, release=release)
    assert helm.one(manifests, "Service", name)
    assert all(len(m["metadata"]["name"]) <= 63 for m in manifests if m["kind"] in {"Service", "Job"})


def _mounted_secret(manifests: list[helm.Manifest]) -> object:
    volumes = helm.pods(manifests)["Deployment/demo-tfpod-adapter"]["spec"]["volumes"]
    return next(volume["secret"]["secretName"] for volume in volumes if volume["name"] == "tls")
