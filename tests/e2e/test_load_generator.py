"""The load generator that the end-to-end tests believe: it counts every failure as what it was, and hides none."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from benchmarks.client import Target, post
from benchmarks.load import Step, offer

pytestmark = pytest.mark.anyio

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
LAST = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


def always(answer: bytes) -> Behaviour:
    """Answer every request of a connection, and close it where the answer says so or is not whole."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(answer)
            if not answer.endswith(OK[-6:]) or b"close" in answer:
                return

    return behave


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Answer nothing, and hold the connection until the client leaves."""
    await reader.read()


@asynccontextmanager
async def server(behave: Behaviour) -> AsyncIterator[tuple[Target, list[asyncio.Task[None]]]]:
    """A server of one behaviour, and a list that grows by one with every connection."""
    connections: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # the client has left
            await behave(reader, writer)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.create_task(serve(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as running:
        port = running.sockets[0].getsockname()[1]
        yield post(f"http://127.0.0.1:{port}/path"), connections
    await asyncio.gather(*connections)


async def test_as_many_requests_are_offered_as_the_steps_say() -> None:
    async with server(always(OK)) as (target, _):
        report = await offer(target, [Step(100, 0.1), Step(20, 0.5)])
    assert (report.offered, len(report.latencies), report.failed) == (20, 20, 0)


async def test_connections_are_kept_and_used_in_turn() -> None:
    async with server(always(OK)) as (target, connections):
        await offer(target, [Step(100, 0.2)], connections=4)
    assert len(connections) == 4


async def test_a_connection_that_the_server_ends_politely_is_no_failure() -> None:
    async with server(always(LAST)) as (target, connections):
        report = await offer(target, [Step(100, 0.2)], connections=4)
    assert (len(connections), report.failed) == (20, 0)


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (always(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}"), "503"),
        (always(b""), "reset"),
        (always(OK[:-1]), "cut"),
        (always(b"nonsense\r\n\r\n"), "cut"),
        (silence, "late"),
    ],
)
async def test_every_failure_is_counted_as_what_it_was(behaviour: Behaviour, kind: str) -> None:
    async with server(behaviour) as (target, _):
        report = await offer(target, [Step(100, 0.1)], patience=0.2)
    assert dict(report.failures) == {kind: 10}
    assert report.latencies == []


async def test_a_closed_port_is_counted_as_refused() -> None:
    async with server(silence) as (target, _):
        pass
    report = await offer(target, [Step(100, 0.1)])
    assert dict(report.failures) == {"refused": 10}


async def test_latency_counts_from_when_a_request_was_due() -> None:
    """A server that answers one at a time makes the next wait, and the wait is part of their latency."""
    turn = asyncio.Lock()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            async with turn:
                await asyncio.sleep(0.05)
                writer.write(OK)

    async with server(slowly) as (target, _):
        report = await offer(target, [Step(1000, 0.01)], connections=1)
    assert report.quantile(1.0) > 0.05 * 9
