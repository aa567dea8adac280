"""The end of a server loses no request."""

import asyncio
import socket

import pytest
from starlette.types import Receive, Scope, Send

from service.net.drain import Drain, DrainingServer
from service.net.server import listen
from tests.serving import GET, PATIENT, POST, echo, serving

pytestmark = pytest.mark.anyio


class Held:
    """An app that answers when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go = asyncio.Semaphore(0), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.begun.release()
            await self.go.wait()
            await echo(scope, receive, send)


async def test_draining_serves_old_and_new_connections_and_says_close() -> None:
    async with serving(echo, drain=Drain(delay=30.0, timeout=5.0)) as pod:
        old = await pod.connect()
        await old.ask(POST)
        pod.server.drain()
        assert pod.server.server_state.draining
        for client in (old, await pod.connect()):
            status, headers, body = await client.ask(POST)
            assert (status, headers["connection"], body) == (200, "close", b"4")
            assert await client.ended() == b""


async def test_the_answer_under_way_says_close_too() -> None:
    app = Held()
    async with serving(app, drain=Drain(delay=30.0, timeout=5.0)) as pod:
        client = await pod.connect()
        await client.send(POST)
        await app.begun.acquire()
        pod.server.drain()
        app.go.set()
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (200, "close")


async def test_what_is_in_flight_is_finished_after_the_listener_closed() -> None:
    app = Held()
    async with serving(app) as pod:
        client = await pod.connect()
        await client.send(POST)
        await app.begun.acquire()
        pod.server.drain()
        await refused(pod.port)
        assert not pod.task.done()
        app.go.set()
        assert (await client.answer())[0] == 200
        await pod.task


async def test_what_is_in_flight_is_finished_although_there_were_times_without_connections() -> None:
    app = Held()
    app.go.set()
    async with serving(app) as pod:
        first = await pod.connect()
        await first.ask(POST)
        first.close()
        while pod.server.server_state.connections:
            await asyncio.sleep(0.001)
        app.go.clear()
        client = await pod.connect()
        await client.send(POST)
        await app.begun.acquire()
        await app.begun.acquire()
        pod.server.drain()
        await refused(pod.port)
        app.go.set()
        assert (await client.answer())[0] == 200


async def test_a_connection_that_has_not_sent_its_first_request_yet_is_in_flight() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        await (await pod.connect()).ask(GET)  # so that the first is accepted
        pod.server.drain()
        await refused(pod.port)
        assert (await client.ask(POST))[0] == 200
        await pod.task


async def test_a_half_sent_request_is_in_flight() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        await client.ask(POST)
        await client.send(POST[:20])
        await (await pod.connect()).ask(GET)
        pod.server.drain()
        await refused(pod.port)
        assert (await client.ask(POST[20:]))[0] == 200
        await pod.task


async def test_idle_connections_do_not_hold_up_the_end() -> None:
    async with serving(echo, drain=Drain(delay=0.0, timeout=3600.0)) as pod:
        client = await pod.connect()
        await client.ask(POST)
        pod.server.drain()
        assert await client.ended() == b""
        await pod.task


async def test_a_body_nobody_wants_does_not_hold_up_the_end_and_its_sender_finds_the_answer() -> None:
    async with serving(echo, drain=Drain(delay=0.0, timeout=3600.0)) as pod:
        lost, other = await pod.connect(), await pod.connect()
        for client in (lost, other):
            await client.send(GET[:-2] + b"Content-Length: 1000000\r\n\r\n")
            await client.reader.readuntil(b"\r\n\r\n0")
        other.writer.write(b"x" * 999_999)  # it lies in the socket at the end
        pod.server.server_state.close()
        await asyncio.sleep(0.01)
        await other.send(b"x")
        await lost.send(b"x" * 1_000_000)
        assert await lost.ended() == await other.ended() == b""


async def test_connections_still_in_the_listeners_queue_are_taken_in() -> None:
    """The loop has no chance to accept them between their arrival and the listener's end."""
    waiting: list[socket.socket] = []

    class Ended(DrainingServer):
        async def main_loop(self) -> None:
            for _ in range(50):
                waiting.append(socket.create_connection(listener.getsockname()))
                waiting[-1].sendall(POST)

    with listen("127.0.0.1", 0) as listener:
        ending = asyncio.create_task(Ended(echo, listener, PATIENT, Drain(0.0, 5.0)).run_until_stopped())
        await ending
        answers = [connection.recv(1000) for connection in waiting]
        for connection in waiting:
            connection.close()
        assert len(answers) == 50
        assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


async def test_the_listener_closes_although_callers_come_back_as_soon_as_they_are_answered() -> None:
    async with serving(echo, drain=Drain(delay=0.05, timeout=5.0)) as pod:

        async def ask_again_and_again() -> None:
            while True:
                try:
                    client = await pod.connect()
                except ConnectionRefusedError:
                    return
                assert (await client.ask(POST))[0] == 200
                client.close()

        callers = [asyncio.create_task(ask_again_and_again()) for _ in range(40)]
        await asyncio.sleep(0.05)
        pod.server.drain()
        await pod.task
        await asyncio.gather(*callers)


async def test_what_does_not_end_is_cut_at_the_drain_timeout() -> None:
    app = Held()
    async with serving(app, drain=Drain(delay=0.0, timeout=0.1)) as pod:
        client = await pod.connect()
        await client.send(POST)
        await app.begun.acquire()
        pod.server.drain()
        assert await client.ended() == b""
        await pod.task


async def test_a_second_signal_ends_the_delay() -> None:
    async with serving(echo, drain=Drain(delay=3600.0, timeout=5.0)) as pod:
        await (await pod.connect()).ask(GET)
        pod.server.drain()
        pod.server.drain()
        await pod.task


async def test_pipelined_requests_are_all_answered_before_the_close() -> None:
    app = Held()
    async with serving(app, drain=Drain(delay=30.0, timeout=5.0)) as pod:
        client = await pod.connect()
        await client.send(POST * 3)
        await app.begun.acquire()
        pod.server.drain()
        app.go.set()
        said = [(await client.answer())[1].get("connection") for _ in range(3)]
        assert said == [None, None, "close"]


async def refused(port: int) -> None:
    """Wait until nothing listens any more."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        writer.close()
        await asyncio.sleep(0.01)
