"""Sessions are kept where all pods find them, and what opens that place stays a secret."""

from base64 import b64decode

import pytest
import yaml

from service.settings import Settings, read
from tests.chart import helm
from tests.chart.apiserver import plan

URL = "rediss://:pa55word@redis.example:6379/0"
REDIS = ["sessions.enabled=true", f"sessions.redis.url={URL}"]
MEMORY = ["sessions.enabled=true", "autoscaling.maxReplicas=1"]


def server(*values: str) -> helm.Manifest:
    """Return the server's pod template."""
    return helm.pods(helm.render(*values))["Deployment/demo-tfpod"]


def sources(pod: helm.Manifest) -> dict[str, object]:
    """Return the settings whose values come from elsewhere."""
    entries = pod["spec"]["containers"][0]["env"]
    return {entry["name"]: entry["valueFrom"] for entry in entries if "valueFrom" in entry}


def test_a_redis_is_known_to_the_pods_by_a_secret_alone() -> None:
    manifests = helm.render(*REDIS)
    secret = helm.one(manifests, "Secret", "demo-tfpod-sessions")
    assert b64decode(secret["data"]["url"]).decode() == URL
    assert sources(helm.pods(manifests)["Deployment/demo-tfpod"]) == {
        "TFPOD_SESSIONS_URL": {"secretKeyRef": {"name": "demo-tfpod-sessions", "key": "url"}}
    }
    others = [manifest for manifest in manifests if manifest is not secret]
    assert "pa55word" not in yaml.safe_dump_all(others)


def test_an_existing_secret_is_named_and_none_is_made() -> None:
    manifests = helm.render("sessions.enabled=true", "sessions.redis.existingSecret=mine")
    assert sources(helm.pods(manifests)["Deployment/demo-tfpod"]) == {
        "TFPOD_SESSIONS_URL": {"secretKeyRef": {"name": "mine", "key": "url"}}
    }
    assert not [m for m in manifests if m["kind"] == "Secret" and "sessions" in m["metadata"]["name"]]


@pytest.mark.parametrize(
    ("values", "sessions"),
    [
        ([], 0),
        (REDIS, 0),
        (MEMORY, 256),
        ([*MEMORY, "sessions.perPod=1048576"], 1 << 20),
        (["sessions.enabled=true", "autoscaling.enabled=false"], 256),
    ],
    ids=str,
)
def test_memory_keeps_sessions_only_where_they_are_wanted_and_there_is_no_redis(
    values: list[str], sessions: int
) -> None:
    assert read(Settings, helm.environment(server(*values)), "TFPOD_").max_sessions == sessions


def test_with_a_redis_there_may_be_many_pods() -> None:
    assert "HorizontalPodAutoscaler" in helm.kinds(helm.render(*REDIS, "autoscaling.maxReplicas=50"))


@pytest.mark.parametrize(("values", "told"), [(MEMORY, "in the pod's memory, and end with it"), (REDIS, "in Redis")])
def test_the_notes_tell_where_sessions_are_kept(values: list[str], told: str) -> None:
    notes = plan(*values, cluster=[])[1]
    assert told in notes
    assert "pa55word" not in notes


def test_the_notes_are_silent_about_what_is_switched_off() -> None:
    assert "/v1/stream" not in plan(cluster=[])[1]
