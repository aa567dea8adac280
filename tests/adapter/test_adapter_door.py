"""The door: strangers stay few and short, certificates change under way, the end is orderly."""

import asyncio
import ssl
from contextlib import suppress

import httpx
import pytest

from service.adapter import door as door_module
from service.adapter.door import Door
from service.adapter.protocol import MAX_REQUEST
from service.net.server import listen
from tests.adapter.cluster import ALICE, Cluster, values
from tests.adapter.standins import Authority, PodServer, client_context, page, until

pytestmark = pytest.mark.anyio

FIVE = "tfpod_requests_per_second 5\n"
DISCOVERY = "/apis/custom.metrics.k8s.io/v1beta2"


async def connect(
    cluster: Cluster, context: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to the adapter."""
    return await asyncio.open_connection("127.0.0.1", cluster.port, ssl=context)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what still comes, once the other side has hung up."""
    received = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(20):
            while piece := await reader.read(1 << 16):
                received += piece
    return received


async def test_silent_connections_do_not_keep_the_front_proxy_out(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "STRANGER_SECONDS", 3600.0)
    silent = [await connect(cluster) for _ in range(door_module.MAX_STRANGERS + 20)]
    assert (await cluster.get(DISCOVERY)).status_code == 200
    for reader, _ in silent[:20]:
        assert await ended(reader) == b""
    for _, writer in silent:
        writer.close()


async def test_a_handshake_that_does_not_end_is_hung_up(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "STRANGER_SECONDS", 0.1)
    reader, writer = await connect(cluster)
    writer.write(b"\x16\x03\x01")
    assert await ended(reader) == b""
    writer.close()


async def test_a_stranger_that_asks_nothing_is_hung_up(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "STRANGER_SECONDS", 0.2)
    reader, writer = await connect(cluster, client_context(cluster.cluster_ca.pem))
    assert await ended(reader) == b""
    writer.close()


async def test_the_front_proxy_may_stay(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "STRANGER_SECONDS", 0.2)
    monkeypatch.setattr(door_module, "MAX_STRANGERS", 1)
    async with cluster.client(cluster.front_proxy) as client:
        assert (await client.get(DISCOVERY, headers=ALICE)).status_code == 200
        held = connections(client)
        stranger, writer = await connect(cluster, client_context(cluster.cluster_ca.pem))
        await ended(stranger)  # its time is over; the front proxy's connection is older
        writer.close()
        assert (await client.get(DISCOVERY, headers=ALICE)).status_code == 200
        assert connections(client) == held


def connections(client: httpx.AsyncClient) -> list[object]:
    """Return the connections that a client holds."""
    return list(client._transport._pool.connections)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_REQUEST,
        b"GET /" + b"x" * MAX_REQUEST,
        b"POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n" + b"x" * MAX_REQUEST,
        b"no HTTP\r\n\r\n",
    ],
    ids=["head", "path", "body", "no-http"],
)
async def test_a_bad_request_ends_the_connection(cluster: Cluster, request_: bytes) -> None:
    reader, writer = await connect(cluster, client_context(cluster.cluster_ca.pem))
    writer.write(request_)
    assert (await ended(reader)).startswith((b"HTTP/1.1 400", b"HTTP/1.1 401"))
    writer.close()


async def test_a_request_ahead_of_the_answer_ends_the_connection(cluster: Cluster) -> None:
    reader, writer = await connect(cluster, client_context(cluster.cluster_ca.pem, cluster.front_proxy))
    writer.write(f"GET {DISCOVERY} HTTP/1.1\r\nHost: a\r\nX-Remote-User: alice\r\n\r\n".encode() * 2)
    received = await ended(reader)
    assert received.startswith(b"HTTP/1.1 400")
    assert b"HTTP/1.1 200" not in received
    writer.close()


async def test_the_limit_is_for_a_request_not_for_a_connection(cluster: Cluster) -> None:
    async with cluster.client(cluster.front_proxy) as client:
        for _ in range(4):
            answer = await client.get(DISCOVERY, headers=ALICE | {"X-Filler": "x" * (MAX_REQUEST // 2)})
            assert answer.status_code == 200
        assert len(connections(client)) == 1


async def test_only_tls_1_3_is_spoken(cluster: Cluster) -> None:
    context = client_context(cluster.cluster_ca.pem, cluster.front_proxy)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await connect(cluster, context)


async def test_no_session_can_be_resumed(cluster: Cluster) -> None:
    """It would skip the verification against the CA of today."""
    reader, writer = await connect(cluster, client_context(cluster.cluster_ca.pem))
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await ended(reader)).startswith(b"HTTP/1.1 401")
    assert not writer.get_extra_info("ssl_object").session.has_ticket
    writer.close()


async def served_name(cluster: Cluster) -> str:
    """Return the common name of the serving certificate."""
    _, writer = await connect(cluster, client_context(cluster.cluster_ca.pem))
    ((_, name),) = writer.get_extra_info("peercert")["subject"][0]
    writer.close()
    return str(name)


async def test_a_new_serving_certificate_is_taken_over(cluster: Cluster) -> None:
    assert await served_name(cluster) == "adapter"
    cluster.cluster_ca.issue("renewed", server=True, to="adapter")
    await cluster.refreshed()
    assert await served_name(cluster) == "renewed"
    assert (await cluster.get(DISCOVERY)).status_code == 200


async def test_half_of_a_new_serving_certificate_changes_nothing(cluster: Cluster) -> None:
    new, _ = cluster.cluster_ca.issue("renewed", server=True)
    (cluster.folder / "adapter.crt").write_bytes(new.read_bytes())
    await cluster.refreshed()
    assert await served_name(cluster) == "adapter"
    (cluster.folder / "adapter.crt").unlink()
    await cluster.refreshed()
    assert await served_name(cluster) == "adapter"
    assert cluster.door.ready


async def test_a_new_front_proxy_ca_is_learned_at_once_and_the_old_one_forgotten(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "REFRESH_SECONDS", 3600.0)
    seen = 0
    while seen != cluster.api.config_reads:  # until the last short interval is over
        seen = cluster.api.config_reads
        await asyncio.sleep(0.3)
    async with cluster.client(cluster.front_proxy) as old:
        assert (await old.get(DISCOVERY, headers=ALICE)).status_code == 200
        new_ca = Authority(cluster.folder, "new front")
        new = new_ca.issue("front-proxy", to="new")
        cluster.api.front_proxy["requestheader-client-ca-file"] = new_ca.pem
        with pytest.raises(httpx.TransportError):  # which lets the adapter look
            await discover(cluster, new)
        await until_discovered(cluster, new)
        with pytest.raises(httpx.TransportError):  # on a connection made before, too
            await old.get(DISCOVERY, headers=ALICE)
    with pytest.raises(httpx.TransportError):
        await discover(cluster, cluster.front_proxy)


async def test_the_adapter_starts_before_the_api_server_can_be_reached(cluster: Cluster) -> None:
    cluster.api.broken = 503
    cluster.auth.front = None
    listener = listen("", 0)
    files = cluster.folder / "adapter.crt", cluster.folder / "adapter.key"
    door = Door(cluster.app, cluster.auth, *files, listener)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(door.serve())
        await cluster.refreshed()
        assert not door.ready
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
        assert await ended(reader) == b""
        writer.close()
        cluster.api.broken = None
        await until(lambda: door.ready)
        door.close()


async def test_closing_finishes_what_was_asked_and_takes_nothing_new(cluster: Cluster) -> None:
    go = asyncio.Event()

    class Slow(PodServer):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set()
            await go.wait()
            await super()._serve(reader, writer)

    asked = asyncio.Event()
    await cluster.pod("a", Slow(page(FIVE)))
    async with asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(cluster.metric())
        await asked.wait()
        cluster.door.close()
        await until(lambda: cluster.door._listener.fileno() == -1)
        with pytest.raises(ConnectionRefusedError):
            await connect(cluster)
        go.set()
    assert values(answer.result()) == {"a": "5"}


async def test_closing_hangs_up_on_strangers(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "STRANGER_SECONDS", 3600.0)
    reader, writer = await connect(cluster)
    await until(lambda: cluster.door._strangers)
    cluster.door.close()
    assert await ended(reader) == b""
    writer.close()


async def discover(cluster: Cluster, identity: tuple[object, object]) -> httpx.Response:
    """Ask for discovery with a certificate."""
    async with cluster.client(identity) as client:  # type: ignore[arg-type]
        return await client.get(DISCOVERY, headers=ALICE)


async def until_discovered(cluster: Cluster, identity: tuple[object, object]) -> None:
    """Ask until the certificate is accepted."""
    while True:
        with suppress(httpx.TransportError):
            assert (await discover(cluster, identity)).status_code == 200
            return
        await asyncio.sleep(0.01)
