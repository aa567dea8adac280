"""Reading pods: bad ones do no harm, good ones are asked no more than needed."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing

import httpx
import pytest

from service.adapter import kube, scrape
from service.adapter.answers import METRICS
from tests.adapter.cluster import Cluster, values
from tests.adapter.standins import PodServer, page, pod

pytestmark = pytest.mark.anyio

FIVE = "tfpod_requests_per_second 5\n"


@pytest.mark.parametrize(
    "answer",
    [
        PodServer(page(FIVE, "500 Internal Server Error")),
        PodServer(page(FIVE, "302 Found\r\nLocation: http://127.0.0.2/metrics")),
        PodServer(page("tfpod_queue_rows 5\n")),
        PodServer(page("tfpod_requests_per_second NaN\n")),
        PodServer(page(FIVE + "#" * (64 << 10))),
        PodServer(page("HTTP/1.1 200 OK\r\n\r\n", "")[:-2], endless=True),
        PodServer(b"HTTP/1.1 200 OK\r\n\r\n" + FIVE.encode(), b"# no end\n" * 1000, endless=True),
        PodServer(b"HTTP/1.1 200 OK\r\n", b"X-Filler: " + b"x" * 1000 + b"\r\n", endless=True),
        PodServer(b"\x00\xff SSH-2.0\r\n"),
        PodServer(b""),
        PodServer(3600.0),
        PodServer(b"HTTP/1.1 200 OK\r\n\r\n", b"#\n", 0.05, endless=True),
        PodServer(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(FIVE.encode())
        ),
    ],
    ids=[
        "error",
        "redirect",
        "other-metrics",
        "not-a-number",
        "huge",
        "endless-answers",
        "endless-body",
        "endless-head",
        "no-http",
        "nothing",
        "hangs",
        "drips",
        "compressed",
    ],
)
async def test_a_pod_that_answers_badly_is_left_out(
    cluster: Cluster, answer: PodServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrape, "TIMEOUT", 2.0)
    await cluster.pod("a", FIVE)
    await cluster.pod("b", answer)
    assert values(await cluster.metric()) == {"a": "5"}
    assert len(answer.requests) == 1


async def test_a_pod_that_takes_no_connection_is_left_out(cluster: Cluster) -> None:
    await cluster.pod("a", FIVE)
    cluster.api.pods.append(pod("b", ("127.0.0.9", 9)))
    assert values(await cluster.metric()) == {"a": "5"}


async def test_many_slow_pods_wait_side_by_side(cluster: Cluster) -> None:
    """No pod is answered before all are asked, so that asking one after the other would end in nothing."""
    asked: list[str] = []
    everybody = asyncio.Event()

    class Patient(PodServer):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append("")
            if len(asked) == 20:
                everybody.set()
            await everybody.wait()
            await super()._serve(reader, writer)

    for number in range(20):
        await cluster.pod(f"p{number}", Patient(page(FIVE)))
    assert len(values(await cluster.metric())) == 20


async def test_all_metrics_of_an_instant_come_from_one_reading(cluster: Cluster) -> None:
    server = await cluster.pod("a", "".join(f"{metric} 1\n" for metric in METRICS))
    for metric in METRICS:
        assert values(await cluster.metric(metric)) == {"a": "1"}
    assert len(server.requests) == len(cluster.api.lists) == 1


async def test_questions_at_the_same_time_share_one_reading(cluster: Cluster) -> None:
    server = await cluster.pod("a", PodServer(0.1, page(FIVE)))
    answers = await asyncio.gather(*(cluster.metric() for _ in range(10)))
    assert [values(answer) for answer in answers] == [{"a": "5"}] * 10
    assert len(server.requests) == len(cluster.api.lists) == 1


async def test_different_selectors_share_the_reading_of_a_pod(cluster: Cluster) -> None:
    """Or many selectors would multiply the load on the pods."""
    server = await cluster.pod("a", FIVE, metadata={"labels": {"app": "model", "tier": "gold"}})
    assert values(await cluster.metric(labelSelector="app=model")) == {"a": "5"}
    assert values(await cluster.metric(labelSelector="tier=gold")) == {"a": "5"}
    assert len(server.requests) == 1


async def test_a_pod_with_an_ipv6_address_is_asked(cluster: Cluster) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback address")
    async with PodServer(page(FIVE)).serving("::1") as server:
        cluster.api.pods.append(pod("six", server.address))
        assert values(await cluster.metric()) == {"six": "5"}
    assert f"\r\nHost: [::1]:{server.address[1]}\r\n" in server.requests[0]


async def test_a_pod_is_told_no_secret_and_reached_without_a_proxy(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with PodServer(page(FIVE)).serving("127.0.0.200") as proxy:
        monkeypatch.setenv("http_proxy", "http://{}:{}".format(*proxy.address))
        monkeypatch.setenv("ALL_PROXY", "http://{}:{}".format(*proxy.address))
        async with aclosing(scrape.Scraper()) as scraper:
            server = await cluster.pod("a", PodServer(page(FIVE, "200 OK\r\nSet-Cookie: a=b")))
            for uid in ("1", "2"):  # two pods at one address, one after the other
                where = kube.Pod(uid, "a", "http://{}:{}/metrics".format(*server.address))
                assert (await scraper.read([where]))["a"].values == {"tfpod_requests_per_second": 5000}
    assert not proxy.requests
    expected = (
        "GET /metrics HTTP/1.1\r\nHost: {}:{}\r\nAccept: text/plain\r\nAccept-Encoding: identity\r\n"
        "Connection: close\r\nUser-Agent: tfpod-adapter\r\n\r\n"
    ).format(*server.address)
    assert server.requests == [expected, expected]


async def test_reading_stops_where_the_limit_is_passed() -> None:
    """While the body comes in, not after."""
    given = []

    async def body() -> AsyncIterator[bytes]:
        while True:
            given.append(b"x" * 1000)
            yield given[-1]

    with pytest.raises(ValueError, match="longer than 5000 bytes"):
        await kube.read(httpx.Response(200, content=body()), 5000)
    assert len(given) == 6
