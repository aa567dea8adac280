"""The chart refuses values that cannot work, and says which."""

import pytest

from tests.chart import helm

CONFLICTS = [
    (["autoscaling.minReplicas=5", "autoscaling.maxReplicas=4"], "autoscaling.minReplicas (5) is greater"),
    (["ingress.enabled=true"], "ingress.enabled exposes the API to everybody"),
    (["httpRoute.enabled=true", "httpRoute.parentRefs[0].name=gw"], "httpRoute.enabled exposes the API"),
    (["service.type=LoadBalancer"], "service.type=LoadBalancer exposes the API"),
    (["service.type=NodePort", "grpc.enabled=true"], "service.type=NodePort exposes the API"),
    (["service.port=8500", "grpc.enabled=true"], "service.port=8500 is the port of grpc.enabled"),
    (["auth.tokens={a}", "auth.existingSecret=b"], "auth.tokens and auth.existingSecret exclude each other"),
    (["auth.tokens={a}", "auth.anonymous=true"], "auth.anonymous=true contradicts auth.tokens"),
    (["autoscaling.requestsPerSecond=null"], "autoscaling.enabled without a metric"),
    (["autoscaling.forceGpuMetric=true", "autoscaling.gpuUtilization=null"], "forceGpuMetric needs"),
    (["autoscaling.metricsSource=builtin", "adapter.enabled=false"], "builtin needs adapter.enabled=true"),
    (["httpRoute.enabled=true", "auth.tokens={a}"], "httpRoute.enabled needs httpRoute.parentRefs"),
    (["drain.timeout=9", "requestTimeout=10"], "drain.timeout (9) is less than requestTimeout (10)"),
    (["sessions.enabled=true"], "autoscaling.maxReplicas is 10, and a session in one pod's memory is unknown to"),
    (["sessions.enabled=true", "autoscaling.enabled=false", "replicas=2"], "replicas is 2, and a session in one pod"),
    (["sessions.redis.url=redis://r"], "sessions.redis needs sessions.enabled=true"),
    (
        ["sessions.enabled=true", "sessions.redis.url=redis://r", "sessions.redis.existingSecret=s"],
        "sessions.redis.url and sessions.redis.existingSecret exclude each other",
    ),
    (["extraEnv[0].name=TFPOD_SESSIONS_URL", "extraEnv[0].value=x"], "which is for the value sessions.redis.*"),
    (["extraEnv[0].name=TFPOD_GRPC", "extraEnv[0].value=x"], "which is for the value grpc.enabled"),
    (["runtime=litert", "gpu.count=1"], "gpu.count needs runtime=tensorflow"),
    (["model.subPath=digits"], "model.subPath needs model.existingClaim"),
    (["model.others.digits=/elsewhere"], "model.others names digits"),
    (
        ["extraEnv[0].name=TFPOD_DRAIN_DELAY", "extraEnv[0].value=9"],
        "TFPOD_DRAIN_DELAY, which is for the value drain.del",
    ),
    (
        ["extraEnv[0].name=TFPOD_BATCHING", "extraEnv[0].value=x"],
        "TFPOD_BATCHING, which is for the value settings.batch",
    ),
    (["adapter.tls.mode=existingSecret", "adapter.tls.existingSecret=a"], "needs tls.existingSecret and tls.caBundle"),
]


@pytest.mark.parametrize(("values", "message"), CONFLICTS, ids=lambda value: str(value)[:40])
def test_a_contradiction_is_refused_by_name(values: list[str], message: str) -> None:
    assert message in helm.refusal(*values)


def test_all_contradictions_are_named_at_once() -> None:
    message = helm.refusal("ingress.enabled=true", "model.subPath=digits")
    assert "ingress.enabled" in message
    assert "model.subPath" in message


@pytest.mark.parametrize("guard", ["auth.tokens={a}", "auth.existingSecret=mine", "auth.anonymous=true"])
def test_an_ingress_is_allowed_with_tokens_or_on_explicit_wish(guard: str) -> None:
    assert "Ingress" in helm.kinds(helm.render("ingress.enabled=true", guard))


def test_values_that_only_autoscaling_needs_do_not_matter_without_it() -> None:
    off = ["autoscaling.enabled=false", "autoscaling.requestsPerSecond=null", "autoscaling.minReplicas=99"]
    assert "Deployment" in helm.kinds(helm.render(*off))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("ingres.enabled=true", "ingres"),
        ("runtime=onnx", "runtime"),
        ("autoscaling.maxReplica=3", "maxReplica"),
        ("autoscaling.minReplicas=0", "minReplicas"),
        ("autoscaling.gpuUtilization=101", "gpuUtilization"),
        ("autoscaling.requestsPerSecond=0", "requestsPerSecond"),
        ("autoscaling.metricsSource=keda", "metricsSource"),
        ("autoscaling.behavior.scaleUp.window=1", "window"),
        ("drain.delay=0", "delay"),
        ("settings.max_inflght=1", "max_inflght"),
        ("settings.max_inflight=0", "max_inflight"),
        ("settings.batching=often", "batching"),
        ("settings.port=1", "port"),
        ("settings.grpc=true", "grpc"),
        ("grpc.enabled=yes", "enabled"),
        ("settings.sessions_url=redis://r", "sessions_url"),
        ("sessions.redis.url=http://r", "url"),
        ("sessions.perPod=0", "perPod"),
        ("model.name=a/b", "name"),
        ("model.path=relative", "path"),
        ("model.others.two=/a\\,b=/c", "two"),
        ("auth.tokens={two words}", "tokens"),
        ("gpu.resourceName=gpu", "resourceName"),
        ("image.digest=sha256:12", "digest"),
        ("adapter.tls.mod=helm", "mod"),
        ("adapter.replicas=0", "replicas"),
    ],
)
def test_the_schema_refuses_typos_and_impossible_values(value: str, path: str) -> None:
    message = helm.refusal(value)
    assert "schema" in message
    assert path in message
