"""Who is let in, on whose word, and who may read what."""

import asyncio
from pathlib import Path

import httpx
import pytest

from service.adapter import kube
from service.adapter.auth import front_proxy
from tests.adapter.cluster import Cluster, values
from tests.adapter.standins import Authority

pytestmark = pytest.mark.anyio

FIVE = "tfpod_requests_per_second 5\n"
DISCOVERY = "/apis/custom.metrics.k8s.io/v1beta2"


async def ask(
    cluster: Cluster, identity: tuple[Path, Path] | None, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Ask for discovery as somebody."""
    async with cluster.client(identity) as client:
        return await client.get(DISCOVERY, headers=headers or {"X-Remote-User": "alice"})


def assert_unauthorized(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["kind"], answer.json()["reason"]) == (401, "Status", "Unauthorized")
    assert answer.headers["connection"] == "close"


async def test_the_front_proxy_is_believed(cluster: Cluster) -> None:
    assert (await ask(cluster, cluster.front_proxy)).status_code == 200


async def test_who_shows_no_certificate_is_unauthorized(cluster: Cluster) -> None:
    assert_unauthorized(await ask(cluster, None))


async def test_a_bearer_token_opens_nothing(cluster: Cluster) -> None:
    assert_unauthorized(await ask(cluster, None, {"Authorization": f"Bearer {cluster.api.token}"}))


@pytest.mark.parametrize("names", [("somebody",), ("front-proxy", "somebody"), ("somebody", "front-proxy"), ()])
async def test_a_certificate_of_the_right_ca_needs_the_allowed_name_and_no_other(
    cluster: Cluster, names: tuple[str, ...]
) -> None:
    assert_unauthorized(await ask(cluster, cluster.front_ca.issue(*names, to="client")))


async def test_without_allowed_names_every_certificate_of_the_ca_is_the_front_proxy(cluster: Cluster) -> None:
    cluster.api.front_proxy["requestheader-allowed-names"] = "[]"
    await cluster.refreshed()
    assert (await ask(cluster, cluster.front_ca.issue("somebody"))).status_code == 200


async def test_a_certificate_of_another_ca_is_refused_whatever_its_name(cluster: Cluster) -> None:
    other = Authority(cluster.folder, "front")
    with pytest.raises(httpx.TransportError):
        await ask(cluster, other.issue("front-proxy", to="forged"))


async def test_a_certificate_of_the_cluster_ca_is_refused(cluster: Cluster) -> None:
    with pytest.raises(httpx.TransportError):
        await ask(cluster, cluster.cluster_ca.issue("front-proxy", to="user"))


async def test_a_certificate_made_for_servers_is_refused(cluster: Cluster) -> None:
    with pytest.raises(httpx.TransportError):
        await ask(cluster, cluster.front_ca.issue("front-proxy", server=True, to="server"))


async def test_the_front_proxy_must_name_a_user(cluster: Cluster) -> None:
    assert_unauthorized(await ask(cluster, cluster.front_proxy, {"X-Remote-Group": "system:masters"}))
    assert_unauthorized(await ask(cluster, cluster.front_proxy, {"X-Remote-User": ""}))


async def test_the_header_names_are_those_of_the_configuration(cluster: Cluster) -> None:
    cluster.api.front_proxy["requestheader-username-headers"] = '["X-First", "X-Second"]'
    await cluster.refreshed()
    assert_unauthorized(await ask(cluster, cluster.front_proxy))
    assert (await ask(cluster, cluster.front_proxy, {"x-second": "alice"})).status_code == 200


async def test_paths_that_are_not_served_are_no_way_around_the_door(cluster: Cluster) -> None:
    async with cluster.client(None) as client:
        for path in ("/", "/metrics", "/readyz", "/openapi/v2", "/apis"):
            assert_unauthorized(await client.get(path))


async def test_discovery_asks_for_no_permission(cluster: Cluster) -> None:
    cluster.api.allowed = False
    assert (await ask(cluster, cluster.front_proxy)).status_code == 200
    assert not cluster.api.reviews


async def test_the_review_tells_who_wants_what(cluster: Cluster) -> None:
    await cluster.pod("a", FIVE)
    headers = [
        ("X-Remote-User", "system:serviceaccount:kube-system:hpa"),
        ("X-Remote-Uid", "123"),
        ("X-Remote-Group", "one"),
        ("X-Remote-Group", "two"),
        ("X-Remote-Extra-Scopes.example.org%2Fall", "x"),
        ("X-Remote-Extra-Scopes.example.org%2Fall", "y"),
    ]
    path = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/web/pods/*/tfpod_requests_per_second"
    assert values(await cluster.get(path, headers=headers)) == {"a": "5"}
    (review,) = cluster.api.reviews
    assert review == {
        "kind": "SubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "spec": {
            "user": "system:serviceaccount:kube-system:hpa",
            "uid": "123",
            "groups": ["one", "two"],
            "extra": {"scopes.example.org/all": ["x", "y"]},
            "resourceAttributes": {
                "verb": "get",
                "group": "custom.metrics.k8s.io",
                "version": "v1beta1",
                "namespace": "web",
                "resource": "pods",
                "subresource": "tfpod_requests_per_second",
                "name": "*",
            },
        },
    }


async def test_who_may_not_is_forbidden_and_no_pod_is_looked_for(cluster: Cluster) -> None:
    cluster.api.allowed = False
    answer = await cluster.metric()
    assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden")
    assert 'User "alice" cannot get resource "pods/tfpod_requests_per_second"' in answer.json()["message"]
    assert not cluster.api.lists


async def test_a_yes_is_remembered_for_the_same_question_only(cluster: Cluster) -> None:
    await cluster.pod("a", FIVE + "tfpod_queue_rows 1\n")
    for _ in range(3):
        assert values(await cluster.metric()) == {"a": "5"}
    assert len(cluster.api.reviews) == 1
    cluster.api.allowed = False
    assert (await cluster.metric("tfpod_queue_rows")).status_code == 403
    path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/web/pods/*/tfpod_requests_per_second"
    for other in ({"X-Remote-User": "bob", "X-Remote-Group": "hpa"}, {"X-Remote-User": "alice"}):
        assert (await cluster.get(path, headers=other)).status_code == 403


async def test_a_no_is_not_remembered(cluster: Cluster) -> None:
    await cluster.pod("a", FIVE)
    cluster.api.allowed = False
    assert (await cluster.metric()).status_code == 403
    cluster.api.allowed = True
    assert values(await cluster.metric()) == {"a": "5"}


@pytest.mark.parametrize("code", [403, 404, 410, 429, 500])
async def test_an_api_server_that_refuses_the_adapter_makes_it_unavailable(cluster: Cluster, code: int) -> None:
    cluster.api.broken = code
    answer = await cluster.metric()
    assert (answer.status_code, answer.json()["reason"]) == (503, "ServiceUnavailable")
    assert (await ask(cluster, cluster.front_proxy)).status_code == 200


async def test_an_api_server_that_hangs_makes_the_adapter_unavailable(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube, "TIMEOUT", 0.1)
    cluster.api.pause = asyncio.Event().wait
    answer = await cluster.metric()
    assert (answer.status_code, answer.json()["reason"]) == (503, "ServiceUnavailable")


async def test_the_token_is_read_for_every_question(cluster: Cluster) -> None:
    """The kubelet renews it every hour."""
    await cluster.pod("a", FIVE)
    cluster.api.token = "renewed"
    assert (await cluster.metric()).status_code == 503
    (cluster.folder / "token").write_text("renewed")
    assert values(await cluster.metric()) == {"a": "5"}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"requestheader-client-ca-file": ""},
        {"requestheader-client-ca-file": "PEM", "requestheader-allowed-names": "front-proxy"},
        {"requestheader-client-ca-file": "PEM", "requestheader-allowed-names": '"front-proxy"'},
    ],
)
def test_a_configuration_that_describes_no_front_proxy_is_refused(data: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        front_proxy(data)


async def test_a_broken_configuration_leaves_the_one_before(cluster: Cluster) -> None:
    cluster.api.front_proxy = {"requestheader-client-ca-file": ""}
    await cluster.refreshed()
    assert (await ask(cluster, cluster.front_proxy)).status_code == 200
