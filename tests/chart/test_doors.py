"""How the API is reached, and by whom."""

import json
import re
from base64 import b64decode

import pytest

from service import rpcs
from service.settings import Settings, read
from tests.chart import helm
from tests.chart.apiserver import plan


def test_tokens_become_a_file_of_one_a_line() -> None:
    manifests = helm.render("auth.tokens={first,second}")
    secret = helm.one(manifests, "Secret", "demo-tfpod-tokens")
    assert b64decode(secret["data"]["tokens"]) == b"first\nsecond\n"
    assert _token_volume(manifests) == "demo-tfpod-tokens"


def test_an_existing_secret_is_mounted_and_none_is_made() -> None:
    manifests = helm.render("auth.existingSecret=mine")
    assert _token_volume(manifests) == "mine"
    assert not [m for m in manifests if m["kind"] == "Secret" and "tokens" in m["metadata"]["name"]]


def test_without_tokens_the_pod_looks_for_no_file() -> None:
    pod = helm.pods(helm.render())["Deployment/demo-tfpod"]
    assert "TFPOD_TOKENS_FILE" not in helm.environment(pod)


def test_new_tokens_reach_the_pods_that_run() -> None:
    """By the kubelet, which brings up to date what is mounted as a folder, but no file that is mounted by subPath."""
    pods = [helm.pods(helm.render(f"auth.tokens={{{token}}}"))["Deployment/demo-tfpod"] for token in ("a", "b")]
    assert pods[0] == pods[1], "and none has to start anew"
    (mount,) = (mount for mount in pods[0]["spec"]["containers"][0]["volumeMounts"] if mount["name"] == "tokens")
    assert mount == {"name": "tokens", "mountPath": "/etc/tfpod/auth", "readOnly": True}


def test_the_service_leads_to_the_api_and_never_to_the_admin_port() -> None:
    service = helm.one(helm.render(), "Service")
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    assert service["spec"]["ipFamilyPolicy"] == "PreferDualStack"


def test_the_service_leads_to_grpc_where_that_is_wanted() -> None:
    manifests = helm.render("grpc.enabled=true")
    pod = helm.pods(manifests)["Deployment/demo-tfpod"]
    settings = read(Settings, helm.environment(pod), "TFPOD_")
    assert settings.grpc
    (port,) = (port for port in pod["spec"]["containers"][0]["ports"] if port["name"] == "grpc")
    assert port["containerPort"] == settings.grpc_port
    assert helm.one(manifests, "Service")["spec"]["ports"][1:] == [
        {"name": "grpc", "port": 8500, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"}
    ]


def test_an_ingress_names_no_class_unless_told() -> None:
    spec = helm.one(helm.render("ingress.enabled=true", "auth.anonymous=true"), "Ingress")["spec"]
    assert "ingressClassName" not in spec
    assert "tls" not in spec
    assert "host" not in spec["rules"][0]


def test_an_ingress_has_the_class_host_and_certificate_it_is_given() -> None:
    given = ["className=contour", "host=api.example.com", "tls.secretName=cert", "annotations.a=b", "enabled=true"]
    ingress = helm.one(helm.render("auth.tokens={a}", *(f"ingress.{value}" for value in given)), "Ingress")
    assert ingress["metadata"]["annotations"] == {"a": "b"}
    spec = ingress["spec"]
    assert spec["ingressClassName"] == "contour"
    assert spec["tls"] == [{"hosts": ["api.example.com"], "secretName": "cert"}]
    assert spec["rules"][0]["host"] == "api.example.com"
    assert spec["rules"][0]["http"]["paths"][0]["backend"]["service"] == {
        "name": "demo-tfpod",
        "port": {"name": "http"},
    }


def test_a_route_joins_the_gateway_to_the_service() -> None:
    given = ["enabled=true", "parentRefs[0].name=gateway", "hostnames={api.example.com}"]
    route = helm.one(helm.render("auth.tokens={a}", *(f"httpRoute.{value}" for value in given)), "HTTPRoute")
    assert route["spec"] == {
        "parentRefs": [{"name": "gateway"}],
        "hostnames": ["api.example.com"],
        "rules": [{"backendRefs": [{"name": "demo-tfpod", "port": 80}]}],
    }


def test_a_route_leads_every_call_of_grpc_to_its_port_and_the_rest_to_the_other() -> None:
    given = ["grpc.enabled=true", "httpRoute.enabled=true", "httpRoute.parentRefs[0].name=gateway"]
    route = helm.one(helm.render("auth.tokens={a}", *given), "HTTPRoute")
    rest, calls = route["spec"]["rules"]
    assert "matches" not in rest
    assert calls["backendRefs"] == [{"name": "demo-tfpod", "port": 8500}]
    assert {match["path"]["type"] for match in calls["matches"]} == {"PathPrefix"}
    services = {path.rpartition("/")[0] for path in rpcs.PLACES}
    assert {match["path"]["value"] for match in calls["matches"]} == services


def test_the_notes_hold_a_request_that_digits_can_answer() -> None:
    _, notes = plan(cluster=[])
    (request,) = re.findall(r"-d '(.*?)'", notes, re.DOTALL)
    (image,) = json.loads(request)["inputs"]
    assert (image["name"], image["datatype"], image["shape"], len(image["data"])) == ("image", "FP32", [1, 8, 8, 1], 64)
    assert "port-forward service/demo-tfpod 8000:80" in notes


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([], "Everybody who reaches it may use it"),
        (["auth.tokens={a}"], "get secret demo-tfpod-tokens"),
        (["auth.existingSecret=mine"], "get secret mine"),
        (["grpc.enabled=true"], "demo-tfpod.apps.svc:8500 by gRPC\n"),
        (["grpc.enabled=true", "auth.tokens={a}"], "by gRPC, with the metadata `authorization: Bearer TOKEN`"),
        (["auth.tokens={a}", "ingress.enabled=true", "ingress.host=a.b", "ingress.tls.secretName=c"], "https://a.b"),
        (["model.name=cats"], "curl http://localhost:8000/v2/models/cats"),
        (["autoscaling.enabled=false"], "it keeps 1 pod(s)"),
        (["autoscaling.metricsSource=prometheus-adapter"], "let Prometheus scrape port 9000"),
    ],
)
def test_the_notes_tell_what_these_values_mean(values: list[str], told: str) -> None:
    assert told in plan(*values, cluster=[])[1]


def _token_volume(manifests: list[helm.Manifest]) -> object:
    """Return the Secret that both the server and the test pod mount where TFPOD_TOKENS_FILE points."""
    pods = helm.pods(manifests)
    mounted = set()
    for name in ("Deployment/demo-tfpod", "Pod/demo-tfpod-test-predict"):
        spec = pods[name]["spec"]
        (volume,) = (v for v in spec["volumes"] if v["name"] == "tokens")
        (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "tokens")
        assert mount["mountPath"] == "/etc/tfpod/auth"
        mounted.add(volume["secret"]["secretName"])
    (secret,) = mounted
    return secret
