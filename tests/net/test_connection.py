"""A client cannot leave anything unfinished for longer than the server's patience."""

import asyncio
import contextlib
import gc
from dataclasses import replace
from typing import cast

import pytest
from starlette.types import Receive, Scope, Send

from service.net.connection import Connection
from tests.serving import GET, PATIENT, POST, echo, serving

pytestmark = pytest.mark.anyio


async def test_answers_and_keeps_the_connection() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        for _ in range(3):
            status, headers, body = await client.ask(POST)
            assert (status, body) == (200, b"4")
            assert "connection" not in headers


async def test_answers_pipelined_requests_in_their_order() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        await client.send(POST + GET + POST.replace(b"4\r", b"2\r").replace(b"body", b"bo") * 14)
        bodies = [(await client.answer())[2] for _ in range(16)]
        assert bodies == [b"4", b"0", *[b"2"] * 14]


async def test_no_more_than_a_few_pipelined_requests_are_taken_in() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        await client.send(GET * 10_000)
        answers = (await client.ended()).count(b"HTTP/1.1 200 ")
        assert answers == 17


async def test_of_pipelined_requests_no_more_is_read_than_came_in_one_piece_until_all_but_one_are_answered() -> None:
    answered, turn = 0, asyncio.Semaphore(0)

    async def in_turn(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal answered
        if scope["type"] == "http":
            await turn.acquire()
            await echo(scope, receive, send)
            answered += 1

    async with serving(in_turn) as pod:
        client = await pod.connect()
        await client.send(POST * 4)
        while not pod.server.server_state.connections:
            await asyncio.sleep(0.001)
        (connection,) = cast("set[Connection]", pod.server.server_state.connections)
        while connection.latest is None:
            await asyncio.sleep(0.001)
        reading = []
        for number in range(4):
            reading.append(connection.transport.is_reading())
            turn.release()
            while answered == number:
                await asyncio.sleep(0.001)
        assert reading == [False, False, False, True]


UPGRADE = b"POST / HTTP/1.1\r\nHost: pod\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: "


@pytest.mark.parametrize("pause", [0.0, 0.05])
async def test_a_wish_for_another_protocol_is_ignored_and_smuggles_nothing(pause: float) -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        await client.send(UPGRADE + b"%d\r\n\r\n" % len(GET))
        await asyncio.sleep(pause)
        await client.send(GET + POST)
        assert (await client.answer())[2] == b"%d" % len(GET)
        assert (await client.answer())[2] == b"4"


async def test_connect_is_refused() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        assert (await client.ask(b"CONNECT pod:80 HTTP/1.1\r\nHost: pod\r\n\r\n"))[0] == 400


async def test_what_is_not_http_takes_no_answer_from_the_request_before_it() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        status, headers, body = await client.ask(POST + b"\x00garbage")
        assert (status, headers["connection"], body) == (200, "close", b"4")
        assert await client.ended() == b""


async def test_all_requests_before_a_broken_head_are_answered() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        await client.send(POST * 3 + b"GET / HTTP/1.1\r\nHost : pod\r\n\r\n")
        said = [(await client.answer())[1].get("connection") for _ in range(3)]
        assert said == [None, None, "close"]
        assert await client.ended() == b""


async def test_a_head_cut_by_the_end_of_the_one_before_is_given_no_more_time() -> None:
    async with serving(echo, replace(PATIENT, header=0.2)) as pod:
        client = await pod.connect()
        await client.send(b"GET / HT")
        await asyncio.sleep(0.01)
        assert (await client.ask(b"TP/1.1\r\nHost: a\r\n\r\nGET / HT"))[0] == 200
        await client.send(b"TP")
        assert (await client.answer())[0] == 408


async def test_heads_of_different_requests_are_measured_apart() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 10_000 + b"\r\n\r\n"
        await client.send(head[:100])
        for _ in range(20):
            assert (await client.ask(head[100:] + head[:100]))[0] == 200


async def test_trailers_without_end_are_refused() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: pod\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ")
        with contextlib.suppress(RuntimeError, ConnectionError):
            for _ in range(100):
                await client.send(b"a" * (1 << 14))
                await asyncio.sleep(0.001)
        assert (await client.answer())[0] == 431


async def test_connections_in_the_middle_of_a_head_keep_nobody_out() -> None:
    async with serving(echo, replace(PATIENT, connections=2)) as pod:
        slow = [await pod.connect() for _ in range(3)]
        for client in slow:
            with contextlib.suppress(RuntimeError, ConnectionError):
                await client.send(b"G")
        await asyncio.sleep(0.01)
        assert (await (await pod.connect()).ask(GET))[0] == 200


async def test_an_empty_line_between_requests_does_not_end_the_wait_for_the_next() -> None:
    async with serving(echo, replace(PATIENT, keep_alive=0.3)) as pod:
        client = await pod.connect()
        await client.ask(GET)
        await client.send(b"\r\n")
        assert await client.ended() == b""


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with serving(echo, replace(PATIENT, header=0.05)) as pod:
        client = await pod.connect()
        assert await client.ended() == b""
        assert not pod.server.server_state.connections


async def test_a_head_that_trickles_is_refused_by_name() -> None:
    async with serving(echo, replace(PATIENT, header=0.2)) as pod:
        client = await pod.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: p")

        async def trickle() -> None:
            while True:
                await client.send(b"o")
                await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        status, headers, body = await client.answer()
        trickling.cancel()
        assert (status, headers["connection"]) == (408, "close")
        assert b"head did not arrive in time" in body


async def test_a_second_head_that_trickles_is_refused_too() -> None:
    async with serving(echo, replace(PATIENT, header=0.2)) as pod:
        client = await pod.connect()
        await client.ask(POST)
        status, _, _ = await client.ask(b"GET / HT")
        assert status == 408


async def test_a_head_that_waits_to_be_read_is_not_late() -> None:
    go = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await go.wait()
            await echo(scope, receive, send)

    async with serving(slow, replace(PATIENT, header=0.05)) as pod:
        client = await pod.connect()
        await client.send(POST * 2 + GET[:10])
        await asyncio.sleep(0.01)
        await client.send(GET[10:])
        await asyncio.sleep(0.2)
        go.set()
        assert [(await client.answer())[0] for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize("pieces", [1, 40])
async def test_a_head_that_is_too_long_is_refused_before_it_is_kept(pieces: int) -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        head = b"GET / HTTP/1.1\r\nHost: pod\r\nX: " + b"x" * (100 << 10)
        size = len(head) // pieces
        answer = asyncio.create_task(client.answer())
        with contextlib.suppress(RuntimeError, ConnectionError):  # closed: the answer has come
            for start in range(0, len(head), size):
                await client.send(head[start : start + size])
                await asyncio.sleep(0.001)
            await client.send(b"\r\n\r\n")
        status, _, body = await answer
        assert status == 431
        assert b"65536 bytes" in body


async def test_trailers_are_not_kept() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await echo(scope, receive, send)

    async with serving(app) as pod:
        client = await pod.connect()
        chunked = b"POST / HTTP/1.1\r\nHost: pod\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n"
        status, _, body = await client.ask(chunked + b"X-Trailer: value\r\n" * 1000 + b"\r\n")
        assert (status, body) == (200, b"4")
        scope = next(scope for scope in seen if scope["type"] == "http")
        assert [name for name, _ in scope["headers"]] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\xa5\x01",
        b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: pod\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
        b"POST / HTTP/1.1\r\nHost: pod\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: pod\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nbody",
        b"POST / HTTP/1.1\r\nHost: pod\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost : pod\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: pod\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_400_and_the_connection_closed(data: bytes) -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        status, headers, body = await client.ask(data)
        assert (status, headers["connection"]) == (400, "close")
        assert body == b'{"error":"invalid HTTP request"}'
        assert await client.ended() == b""


@pytest.mark.parametrize(
    ("head", "status", "text"),
    [
        (b"GET / HTTP/1.1", 400, b"one Host"),
        (b"GET / HTTP/1.1\r\nHost: pod\r\nHost: pod", 400, b"one Host"),
        (b"GET / HTTP/1.1\r\nHost: pod\r\nX: y\r\nHOST: other", 400, b"one Host"),
        (b"POST / HTTP/1.1\r\nHost: pod\r\nTransfer-Encoding: gzip, chunked", 501, b"chunked"),
        (b"POST / HTTP/1.1\r\nHost: pod\r\nTransfer-Encoding: gzip", 501, b"chunked"),
        (b"POST / HTTP/1.1\r\nHost: pod\r\nTransfer-Encoding: xchunked", 501, b"chunked"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: gzip, chunked", 501, b"chunked"),
        (b"GET / HTTP/0.9\r\nHost: pod", 505, b"HTTP/1.1"),
        (b"GET / HTTP/2.0\r\nHost: pod", 505, b"HTTP/1.1"),
    ],
)
async def test_what_others_might_read_otherwise_is_refused(head: bytes, status: int, text: bytes) -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        found, headers, body = await client.ask(head + b"\r\n\r\n0\r\n\r\n" + GET)
        assert (found, headers["connection"], text in body) == (status, "close", True)
        assert await client.ended() == b""


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0",
        b"GET / HTTP/1.1\r\nhost:",
        b"GET / HTTP/1.1\r\nHost: pod\r\nX: 1\r\nX: 2",
        b"POST / HTTP/1.1\r\nHost: pod\r\nTransfer-Encoding: Chunked",
    ],
)
async def test_what_nobody_might_is_answered(head: bytes) -> None:
    async with serving(echo) as pod:
        assert (await (await pod.connect()).ask(head + b"\r\n\r\n0\r\n\r\n"))[0] == 200


@pytest.mark.parametrize("rest", [b"zz\r\n", b"1;\n\r\n"])
async def test_an_answer_to_what_turned_out_to_be_no_http_is_not_given(
    rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The application answers without a look at the body."""
    async with serving(echo) as pod:
        client = await pod.connect()
        assert (await client.ask(GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + rest))[0] == 400
        assert await client.ended() == b""
    assert not caplog.records


async def test_a_request_whose_body_breaks_off_into_nonsense_ends_and_its_sender_finds_the_answer() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            begun.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            ended.set()
            raise asyncio.CancelledError

    async with serving(app) as pod:
        client = await pod.connect()
        await client.send(POST.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked"))
        await begun.wait()
        await client.send(b"zz\r\n")
        await ended.wait()
        for _ in range(8):
            await client.send(b"x" * (1 << 20))
        assert (await client.answer())[0] == 400
        assert await client.ended() == b""


async def test_a_body_nobody_wants_is_read_so_that_its_sender_finds_the_answer() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        size = 8 << 20
        await client.send(GET[:-2] + b"Content-Length: %d\r\n\r\n" % size)
        assert (await client.answer())[0] == 200
        for _ in range(8):
            await client.send(b"x" * (1 << 20))
        assert (await client.ask(GET))[0] == 200, "the connection is usable again"


async def test_the_sender_of_a_body_nobody_wants_finds_the_answer_even_if_it_asked_to_close() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        await client.send(GET[:-2] + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (8 << 20))
        for _ in range(8):
            await client.send(b"x" * (1 << 20))
        assert (await client.answer())[0] == 200
        assert await client.ended() == b""


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    ended = asyncio.Event()

    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            for _ in range(100):
                await send({"type": "http.response.body", "body": b"x" * (1 << 20), "more_body": True})
        finally:
            ended.set()

    async with serving(flood, replace(PATIENT, header=0.2)) as pod:
        client = await pod.connect()
        await client.send(GET)
        await ended.wait()
        assert not pod.server.server_state.connections


@pytest.mark.parametrize("half_closed", [False, True])
async def test_a_connection_that_closes_does_not_wait_for_ever_for_its_client_to_read(half_closed: bool) -> None:
    size = 16 << 20

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            length = [(b"content-length", b"%d" % size)]
            await send({"type": "http.response.start", "status": 200, "headers": length})
            await send({"type": "http.response.body", "body": b"x" * size})

    async with serving(large, replace(PATIENT, header=0.2, keep_alive=3600.0)) as pod:
        client = await pod.connect()
        while not pod.server.server_state.connections:
            await asyncio.sleep(0.001)
        (connection,) = cast("set[Connection]", pod.server.server_state.connections)
        connection.transport.set_write_buffer_limits(2 * size)  # what is left unread is below the limit
        await client.send(GET if half_closed else GET[:-2] + b"Connection: close\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        if half_closed:
            client.writer.write_eof()
        while pod.server.server_state.connections:
            await asyncio.sleep(0.001)


async def test_what_a_client_asked_for_ends_when_it_is_gone() -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            raise

    async with serving(wait) as pod:
        client = await pod.connect()
        await client.send(GET)
        await begun.wait()
        client.writer.close()
        await stopped.wait()


async def test_an_idle_connection_is_closed_after_the_keep_alive_time() -> None:
    async with serving(echo, replace(PATIENT, keep_alive=0.2)) as pod:
        client = await pod.connect()
        await client.ask(GET)
        assert await client.ended() == b""


async def test_the_longest_idle_connection_makes_room_for_a_new_one() -> None:
    async with serving(echo, replace(PATIENT, connections=2)) as pod:
        first, second = await pod.connect(), await pod.connect()
        await second.ask(GET)
        await asyncio.sleep(0.01)
        await first.ask(GET)
        third = await pod.connect()
        assert (await third.ask(GET))[0] == 200
        assert (await first.ask(GET))[0] == 200
        assert await second.ended() == b""


async def test_connections_that_say_nothing_keep_nobody_out() -> None:
    async with serving(echo, replace(PATIENT, connections=2)) as pod:
        silent = [await pod.connect() for _ in range(5)]
        assert (await (await pod.connect()).ask(GET))[0] == 200
        assert await silent[0].ended() == b""


async def test_a_reset_connection_leaves_no_timer() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        await client.ask(GET)
        (connection,) = cast("set[Connection]", pod.server.server_state.connections)
        client.writer.transport.abort()
        while pod.server.server_state.connections:
            await asyncio.sleep(0.001)
        assert not connection._reading.is_set


async def test_a_request_leaves_nothing_for_the_garbage_collector() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        await client.ask(GET)
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                assert (await client.ask(GET))[0] == 200
            assert gc.collect() < 100
        finally:
            gc.enable()


@pytest.mark.parametrize("end", [b"", b"Connection: close\r\n"])
async def test_a_connection_leaves_nothing_for_the_garbage_collector(end: bytes) -> None:
    async with serving(echo) as pod:
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                client = await pod.connect()
                assert (await client.ask(GET[:-2] + end + b"\r\n"))[0] == 200
                client.close()
            while pod.server.server_state.connections:
                await asyncio.sleep(0.001)
            assert gc.collect() < 100
        finally:
            gc.enable()
