"""`custom.metrics.k8s.io` exists once in a cluster: releases share it with each other, and leave it to others."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.images import Images
from tests.e2e.release import Release
from tests.e2e.target import CommandError, Target, eventually

pytestmark = pytest.mark.cluster

REQUESTS = "tfpod_requests_per_second"
API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"


@pytest.fixture(scope="module")
def owner(target: Target, images: Images) -> Iterator[Release]:
    with Release(target, images, "owner") as installed:
        yield installed


@pytest.fixture(scope="module")
def guest(target: Target, images: Images, owner: Release) -> Iterator[Release]:
    with Release(target, images, "guest") as installed:
        yield installed


def test_a_second_release_uses_the_adapter_of_the_first(target: Target, guest: Release) -> None:
    eventually(lambda: guest.observed(REQUESTS) is not None, 60, "the second HPA does not know its metric")
    assert adapters(target) == ["owner-e2e"]


def test_the_owner_is_not_uninstalled_while_another_relies_on_it(
    target: Target, owner: Release, guest: Release
) -> None:
    with pytest.raises(CommandError, match=r"guest-e2e/guest-tfpod"):
        target.helm("uninstall", owner.name, "--namespace", owner.namespace)
    assert adapters(target) == ["owner-e2e"]
    assert guest.metric(REQUESTS) is not None


def test_the_refused_release_is_restored_by_a_rollback(target: Target, owner: Release) -> None:
    target.helm("rollback", owner.name, "1", "--namespace", owner.namespace, "--wait")
    assert target.helm("status", owner.name, "--namespace", owner.namespace, "--output=json").count('"deployed"') == 1


def test_the_owner_is_uninstalled_after_the_others(target: Target, owner: Release, guest: Release) -> None:
    for release in (guest, owner):
        target.helm("uninstall", release.name, "--namespace", release.namespace, "--wait")
    eventually(lambda: not [*guest.remains(), *owner.remains()], 60, "something is left behind")
    assert adapters(target) == []


def test_an_api_of_somebody_else_is_left_alone(target: Target, images: Images) -> None:
    target.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(FOREIGN))
    try:
        before = target.get(f"{API_SERVICES}/v1beta1.custom.metrics.k8s.io")["spec"]
        with Release(target, images, "polite") as polite:
            assert polite.hpa() is not None
            assert adapters(target) == []
            assert target.get(f"{API_SERVICES}/v1beta1.custom.metrics.k8s.io")["spec"] == before
            assert target.get(f"{API_SERVICES}/v1beta2.custom.metrics.k8s.io") is None
    finally:
        target.kubectl("delete", "apiservice", "v1beta1.custom.metrics.k8s.io")


# Without a service, the API server itself would have to answer, so nothing else breaks by it.
FOREIGN: dict[str, Any] = {
    "apiVersion": "apiregistration.k8s.io/v1",
    "kind": "APIService",
    "metadata": {"name": "v1beta1.custom.metrics.k8s.io", "labels": {"app": "somebody-else"}},
    "spec": {
        "group": "custom.metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    },
}


def adapters(target: Target) -> list[str]:
    """The namespaces in which an adapter runs."""
    query = "labelSelector=app.kubernetes.io%2Fname%3Dtfpod-adapter"
    return [item["metadata"]["namespace"] for item in target.get(f"/apis/apps/v1/deployments?{query}")["items"]]
