"""One release on a bare cluster, from its installation to its removal; the tests run in this order."""

import json
import re
import sys
from collections.abc import Callable, Iterator

import pytest

from benchmarks.scaling import watch
from tests.e2e.images import Images
from tests.e2e.release import CHART, GOAL, PREDICT, SAMPLE, TOKEN, Release, finish
from tests.e2e.target import CommandError, Target, eventually

pytestmark = pytest.mark.cluster

Show = Callable[[object], None]
BEARER = f"Authorization: Bearer {TOKEN}"
REQUESTS = "tfpod_requests_per_second"
DATA = f"@{SAMPLE}"


@pytest.fixture(scope="module")
def release(target: Target, images: Images) -> Iterator[Release]:
    with Release(target, images, "first", {"grpc.enabled": True}) as installed:
        yield installed


def test_a_bare_cluster_serves_after_one_install(release: Release) -> None:
    """`helm install` returned when all was ready; `helm test` predicts through the Service."""
    assert "Phase:          Succeeded" in release.target.helm("test", release.name, "--namespace", release.namespace)


def test_port_forward_reaches_the_api(release: Release) -> None:
    with release.target.running(
        "kubectl", "--namespace", release.namespace, "port-forward", f"service/{release.full_name}", ":80"
    ) as forward:
        assert forward.stdout is not None
        local = re.search(r"127\.0\.0\.1:\d+", forward.stdout.readline())
        assert local is not None
        answer = release.target.run(
            "curl", "--silent", "--fail", f"http://{local[0]}{PREDICT}", "-H", BEARER, "-d", DATA
        )
    assert len(json.loads(answer)["predictions"][0]) == 10


@pytest.mark.usefixtures("ingress")
def test_the_ingress_predicts_for_those_with_a_token(release: Release) -> None:
    eventually(lambda: release.curl("/v2/health/ready")[0] == 200, 30, "the ingress does not route to the release")
    status, body = release.curl(PREDICT, "--header", BEARER, "--data", DATA)
    assert status == 200
    assert len(json.loads(body)["predictions"][0]) == 10


@pytest.mark.usefixtures("ingress")
@pytest.mark.parametrize(("header", "refusal"), [("Accept: */*", 401), ("Authorization: Bearer wrong", 403)])
def test_the_ingress_refuses_those_without(release: Release, header: str, refusal: int) -> None:
    assert release.curl(PREDICT, "--header", header, "--data", DATA)[0] == refusal


def test_an_ingress_without_tokens_is_not_installed(target: Target) -> None:
    with pytest.raises(CommandError, match=r"auth\.anonymous"):
        target.helm("install", "open", CHART, "--namespace", "default", "--set", "ingress.enabled=true")


def test_the_hpa_reads_the_request_rate(release: Release) -> None:
    eventually(lambda: release.observed(REQUESTS) is not None, 60, "the HPA does not know the request rate")
    conditions = {each["type"]: each["status"] for each in release.hpa()["status"]["conditions"]}
    assert conditions["ScalingActive"] == "True"


def test_the_metric_is_taken_anew_for_every_read(release: Release, show: Show) -> None:
    first = release.metric(REQUESTS)
    assert first is not None
    show({"age of the metric in s": round(first.age, 2)})

    def advanced() -> bool:
        now = release.metric(REQUESTS)
        return now is not None and now.taken > first.taken

    eventually(advanced, 10, "the metric's time stands still")


@pytest.mark.usefixtures("ingress")
def test_a_step_of_load_scales_out_and_in_without_a_failed_request(release: Release, show: Show) -> None:
    course = watch(release, GOAL)
    show(course.summary())
    assert max(sample.wanted for sample in course.samples) == course.expected(1) == 4
    assert course.until(1, lambda sample, pods: sample.ready == pods) is not None
    assert course.until(2, lambda sample, pods: sample.ready == pods) is not None
    assert course.load["failed"] == 0


@pytest.mark.usefixtures("ingress")
def test_an_upgrade_and_a_restart_under_load_lose_no_request(release: Release) -> None:
    with release.load([(10, 300)]) as generator:
        release.apply(autoscaling__minReplicas=2)
        release.kubectl("rollout", "restart", f"deployment/{release.full_name}")
        release.kubectl("rollout", "status", f"deployment/{release.full_name}", "--timeout=180s")
        eventually(lambda: two_pods_serve(release), 60, "two new pods do not serve alone")
        report = finish(generator)
    assert report["failed"] == 0, report


@pytest.mark.usefixtures("ingress")
def test_a_pod_deleted_under_load_loses_no_request(release: Release) -> None:
    eventually(lambda: two_pods_serve(release), 60, "there are not two pods, of which to delete one")
    with release.load([(10, 300)]) as generator:
        release.kubectl("delete", "pod", next(iter(release.pods())), "--timeout=60s")
        release.kubectl("rollout", "status", f"deployment/{release.full_name}", "--timeout=180s")
        report = finish(generator)
    assert report["failed"] == 0, report


def test_callers_by_grpc_lose_no_call_when_every_pod_is_replaced(release: Release) -> None:
    """They keep connections, at the Service's own address; their calls count for scaling as requests do."""
    if not release.target.own:
        pytest.skip("only in the test cluster's network a Service is reached from here")
    address = release.kubectl("get", "service", release.full_name, "--output=jsonpath={.spec.clusterIP}")
    before = set(release.pods())
    with release.target.running(sys.executable, "-m", "tests.e2e.callers", f"{address}:8500") as callers:
        assert callers.stdout is not None
        assert callers.stdout.readline() == "calling\n"
        release.kubectl("rollout", "restart", f"deployment/{release.full_name}")
        release.kubectl("rollout", "status", f"deployment/{release.full_name}", "--timeout=180s")
        eventually(lambda: not before & set(release.pods()), 60, "the old pods are still there")
        eventually(lambda: is_asked(release), 30, "the calls of the new pods do not count")
        report = finish(callers)
    assert report["answered"] > 0
    assert report["failures"] == []


def test_other_namespaces_can_be_deleted_while_the_adapter_serves(target: Target, release: Release) -> None:
    target.kubectl("create", "namespace", "short-lived")
    target.kubectl("delete", "namespace", "short-lived", "--timeout=60s")


def test_uninstalling_leaves_nothing(target: Target, release: Release) -> None:
    target.helm("uninstall", release.name, "--namespace", release.namespace, "--wait")
    eventually(lambda: not release.remains(), 60, f"left behind: {release.remains()}")
    assert target.get("/apis/custom.metrics.k8s.io") is None


def is_asked(release: Release) -> bool:
    """Whether its pods count requests."""
    metric = release.metric(REQUESTS)
    return metric is not None and sum(metric.values.values()) > 0


def two_pods_serve(release: Release) -> bool:
    """Whether there are two pods, both ready and to stay."""
    return list(release.pods().values()) == [True, True]
