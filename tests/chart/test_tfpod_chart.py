"""What the chart tfpod makes of its values."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from service.settings import Settings, read
from tests.chart import helm

EVERYTHING = [
    "auth.tokens={one,two}",
    "grpc.enabled=true",
    "ingress.enabled=true",
    "httpRoute.enabled=true",
    "httpRoute.parentRefs[0].name=gateway",
    "gpu.count=1",
    "model.existingClaim=models",
]


def server(*values: str) -> helm.Manifest:
    """Return the server's pod template."""
    return helm.pods(helm.render(*values))["Deployment/demo-tfpod"]


@pytest.mark.parametrize("chart", [helm.CHART, helm.ADAPTER], ids=lambda chart: chart.name)
def test_helm_lint_has_nothing_to_say(chart: Path) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in helm.run("lint", "--strict", chart)


def test_every_version_is_the_one_of_pyproject() -> None:
    version = tomllib.loads((helm.ROOT / "pyproject.toml").read_text())["project"]["version"]
    main, adapter = (yaml.safe_load((chart / "Chart.yaml").read_text()) for chart in (helm.CHART, helm.ADAPTER))
    stated = [main["version"], main["appVersion"], adapter["version"], adapter["appVersion"]]
    assert [*stated, main["dependencies"][0]["version"]] == [version] * 5


@pytest.mark.parametrize("values", [[], EVERYTHING], ids=["default", "everything"])
def test_every_pod_is_restricted(values: list[str]) -> None:
    pods = helm.pods(helm.render(*values))
    assert len(pods) == 4  # server, adapter, uninstall, test
    for pod in pods.values():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["spec"]["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"])
        assert all("hostPath" not in volume for volume in pod["spec"].get("volumes", []))
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_only_the_pods_that_talk_to_the_api_server_hold_its_token() -> None:
    mounts = {name: pod["spec"]["automountServiceAccountToken"] for name, pod in helm.pods(helm.render()).items()}
    assert mounts == {
        "Deployment/demo-tfpod": False,
        "Pod/demo-tfpod-test-predict": False,
        "Deployment/demo-tfpod-adapter": True,
        "Job/demo-tfpod-adapter-uninstall": True,
    }


def test_each_selector_matches_its_own_pods_alone() -> None:
    manifests = helm.render()
    pods = {name: pod["metadata"]["labels"] for name, pod in helm.pods(manifests).items()}
    for manifest in manifests:
        selector = manifest.get("spec", {}).get("selector")
        if not selector:
            continue
        wanted = selector.get("matchLabels", selector).items()
        matched = [name for name, labels in pods.items() if wanted <= labels.items()]
        assert matched == [f"Deployment/{manifest['metadata']['name']}"], manifest["kind"]


def test_the_pods_environment_is_what_the_service_reads() -> None:
    environment = helm.environment(server("auth.tokens={one}", "requestTimeout=20", "logLevel=debug"))
    settings = read(Settings, environment, "TFPOD_")
    assert (settings.request_timeout, settings.drain_delay, settings.drain_timeout) == (20, 5, 30)
    assert settings.tokens_file == "/etc/tfpod/auth/tokens"


def test_every_setting_has_a_value() -> None:
    """One of its own, or of the same name, type and limits among `settings`; or the chart itself sees to it."""
    own = {"models", "tokens_file", "grpc", "request_timeout", "drain_delay", "drain_timeout", "log_level"}
    own |= {"max_sessions"}
    wanted = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]
    schema = json.loads((helm.CHART / "values.schema.json").read_text())["properties"]["settings"]
    assert schema["additionalProperties"] is False
    assert schema["properties"] == {
        name: {key: value for key, value in kind.items() if key != "default"}
        for name, kind in wanted.items()
        if name not in own | {"host", "port", "admin_port", "grpc_port", "sessions_url"}
    }
    environment = helm.environment(server("auth.tokens={a}", "grpc.enabled=true"))
    assert {f"TFPOD_{name.upper()}" for name in own} <= set(environment)


def test_settings_arrive_as_they_were_given() -> None:
    given = ["settings.max_inflight_bytes=1073741824", "settings.batching=false", "json:settings.keep_alive=0.5"]
    settings = read(Settings, helm.environment(server(*given)), "TFPOD_")
    assert (settings.max_inflight_bytes, settings.batching, settings.keep_alive) == (1 << 30, False, 0.5)


@pytest.mark.parametrize(
    ("values", "models"),
    [
        ([], "digits=/app/models/digits"),
        (["model.name=cats", "model.path=/opt/cats"], "cats=/opt/cats"),
        (["model.name=cats", "model.existingClaim=pvc", "model.subPath=cats"], "cats=/models"),
        (["model.others.b=/app/models/b", "model.others.a=/x"], "digits=/app/models/digits,a=/x,b=/app/models/b"),
    ],
)
def test_models_come_from_the_image_or_a_claim(values: list[str], models: str) -> None:
    assert helm.environment(server(*values))["TFPOD_MODELS"] == models


def test_a_claim_is_mounted_read_only() -> None:
    spec = server("model.existingClaim=pvc", "model.subPath=v2")["spec"]
    assert {"name": "models", "persistentVolumeClaim": {"claimName": "pvc", "readOnly": True}} in spec["volumes"]
    mount = {"name": "models", "mountPath": "/models", "readOnly": True, "subPath": "v2"}
    assert mount in spec["containers"][0]["volumeMounts"]


@pytest.mark.parametrize(("delay", "timeout", "grace", "period"), [(5, 30, 40, 5), (1, 10, 16, 1), (20, 300, 325, 5)])
def test_the_grace_period_follows_the_drain(delay: int, timeout: int, grace: int, period: int) -> None:
    spec = server(f"drain.delay={delay}", f"drain.timeout={timeout}")["spec"]
    assert spec["terminationGracePeriodSeconds"] == grace
    assert spec["containers"][0]["readinessProbe"]["periodSeconds"] == period


def test_probes_use_the_admin_port_and_wait_as_long_as_the_model_may_load() -> None:
    container = server("model.loadTimeout=600")["spec"]["containers"][0]
    probes = [container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")]
    assert [probe["httpGet"]["port"] for probe in probes] == ["metrics"] * 3
    assert probes[0]["periodSeconds"] * probes[0]["failureThreshold"] == 600


def test_a_gpu_is_a_limit_beside_the_others_and_tolerated() -> None:
    spec = server("gpu.count=2", "tolerations[0].key=mine", "tolerations[0].operator=Exists")["spec"]
    limits = spec["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "2", "memory": "2Gi", "nvidia.com/gpu": 2}
    assert [toleration["key"] for toleration in spec["tolerations"]] == ["mine", "nvidia.com/gpu"]


def test_pods_spread_over_nodes_by_default_and_as_told() -> None:
    (constraint,) = server()["spec"]["topologySpreadConstraints"]
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    assert constraint["labelSelector"]["matchLabels"].items() <= server()["metadata"]["labels"].items()
    assert "topologySpreadConstraints" not in server("json:topologySpreadConstraints=[]")["spec"]


def test_the_image_is_named_by_tag_or_digest() -> None:
    digest = f"sha256:{'0' * 64}"

    def image(*values: str) -> Any:
        return server("image.repository=r/t", *values)["spec"]["containers"][0]["image"]

    assert image() == f"r/t:{yaml.safe_load((helm.CHART / 'Chart.yaml').read_text())['appVersion']}"
    assert image("image.tag=dev") == "r/t:dev"
    assert image("json:image.tag=20261123") == "r/t:20261123"
    assert image("image.tag=dev", f"image.digest={digest}") == f"r/t@{digest}"


def test_the_runtime_chooses_image_and_memory_unless_they_are_given() -> None:
    def container(*values: str) -> Any:
        return server(*values)["spec"]["containers"][0]

    def memory(*values: str) -> list[str | None]:
        return [container(*values)["resources"][kind].get("memory") for kind in ("requests", "limits")]

    assert container()["image"].startswith("tfpod:")
    assert memory() == ["768Mi", "2Gi"]
    assert container("runtime=litert")["image"].startswith("tfpod-litert:")
    assert memory("runtime=litert") == ["96Mi", "512Mi"]
    assert container("runtime=litert")["resources"]["limits"]["cpu"] == "2"
    assert container("runtime=litert", "image.repository=r/t")["image"].startswith("r/t:")
    assert memory("runtime=litert", "resources.limits.memory=1Gi") == ["96Mi", "1Gi"]
    assert memory("runtime=litert", "resources.limits.memory=null") == ["96Mi", None]
    assert "limits" not in container("json:resources.limits=null")["resources"]


def test_it_works_as_a_part_of_another_chart(tmp_path: Path) -> None:
    parent = {"apiVersion": "v2", "name": "parent", "version": "1.0.0"}
    part = {"name": "tfpod", "version": yaml.safe_load((helm.CHART / "Chart.yaml").read_text())["version"]}
    dependencies = [{**part, "condition": "tfpod.enabled"}]
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump({**parent, "dependencies": dependencies}))
    (tmp_path / "values.yaml").write_text("{global: {team: a}, tfpod: {enabled: true, gpu: {count: 1}}}")
    shutil.copytree(helm.CHART, tmp_path / "charts/tfpod")
    assert {"APIService", "HorizontalPodAutoscaler"} <= helm.kinds(helm.render(chart=tmp_path))
    assert helm.render("tfpod.enabled=false", chart=tmp_path) == []


def test_names_that_look_like_numbers_stay_text() -> None:
    given = ["text:model.name=7", "text:model.existingClaim=8", "text:auth.existingSecret=9"]
    manifests = helm.render(*given, release="123")
    pods = helm.pods(manifests)
    labels = [manifest["metadata"].get("labels", {}) for manifest in [*manifests, *pods.values()]]
    texts = [value for mapping in [*labels, *map(helm.environment, pods.values())] for value in mapping.values()]
    volumes = {volume["name"]: volume for volume in pods["Deployment/123-tfpod"]["spec"]["volumes"]}
    texts += [volumes["models"]["persistentVolumeClaim"]["claimName"], volumes["tokens"]["secret"]["secretName"]]
    assert {type(text) for text in texts} == {str}
    assert texts[-2:] == ["8", "9"]
