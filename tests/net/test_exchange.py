"""service/net/exchange.py: answers arrive whole, in order and in few writes; a broken one is never taken for whole."""

import asyncio
import weakref
from collections.abc import Sequence
from typing import Any, cast

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.net.exchange import HIGH_WATER, Exchange
from tests.serving import GET, POST, echo, serving

pytestmark = pytest.mark.anyio

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}
BODY: Message = {"type": "http.response.body", "body": b"body"}


class Peer:
    """A connection that notes what is done with it."""

    def __init__(self) -> None:
        self.transport: Any = self
        self.drained: asyncio.Future[None] | None = None
        self.defaults = b"date: today\r\n"
        self.written: list[bytes] = []
        self.write = self.written.append
        self.done: list[Exchange] = []
        self.answered = self.done.append
        self.paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def exchange(peer: Peer, version: str = "1.1", *, expects: bool = False) -> Exchange:
    scope = {"type": "http", "method": "POST", "http_version": version}
    return Exchange(peer, scope, keep_alive=version == "1.1", expects=expects)


def sends(messages: Sequence[Message]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for message in messages:
                await send(dict(message))

    return app


async def test_head_and_body_go_out_in_one_write() -> None:
    peer = Peer()
    await exchange(peer).run(sends([START, BODY]))
    assert peer.written == [b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 4\r\n\r\nbody"]
    assert len(peer.done) == 1


async def test_a_long_body_is_not_copied() -> None:
    peer, long = Peer(), b"x" * (1 << 20)
    length = [(b"content-length", b"%d" % len(long))]
    await exchange(peer).run(sends([{**START, "headers": length}, {**BODY, "body": long}]))
    assert peer.written[1] is long


async def test_an_answer_waits_for_a_client_that_does_not_read() -> None:
    peer = Peer()
    peer.drained = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(exchange(peer).run(sends([START, BODY])))
    await asyncio.sleep(0)
    assert not peer.written
    drained, peer.drained = peer.drained, None
    drained.set_result(None)
    await task
    assert len(peer.written) == 1


@pytest.mark.parametrize("length", [[], [(b"content-length", b"5")]])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_every_kind_of_answer_arrives(method: bytes, length: list[tuple[bytes, bytes]]) -> None:
    pieces = [{**START, "headers": length}, {**BODY, "body": b"hel", "more_body": True}, {**BODY, "body": b"lo"}]
    async with serving(sends(pieces)) as pod:
        client = await pod.connect()
        for _ in range(2):
            await client.send(GET.replace(b"GET", method))
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            body = b"" if method == b"HEAD" else b"hello" if length else b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
            assert await client.reader.readexactly(len(body)) == body


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_neither_length_nor_pieces(status: int) -> None:
    peer = Peer()
    await exchange(peer).run(sends([{**START, "status": status, "headers": []}, {**BODY, "body": b""}]))
    (written,) = peer.written
    assert written.endswith(b"date: today\r\n\r\n")


async def test_a_client_of_http_1_0_gets_no_pieces_but_the_end_of_the_connection() -> None:
    async with serving(sends([{**START, "headers": []}, BODY])) as pod:
        client = await pod.connect()
        await client.send(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
        head, _, body = (await client.ended()).partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        assert body == b"body"


@pytest.mark.parametrize(
    "wrong",
    [
        [BODY],
        [{**START, "headers": [(b"x-name", b"one\r\nset-cookie: two")]}, BODY],
        [{**START, "headers": [(b"x-name", b"one\0two")]}, BODY],
        [],
    ],
)
async def test_an_application_that_answers_nonsense_is_answered_for(wrong: list[Message]) -> None:
    async with serving(sends(wrong)) as pod:
        client = await pod.connect()
        status, headers, body = await client.ask(GET)
        assert (status, headers["connection"], body) == (500, "close", b'{"error":"internal error"}')
        assert await client.ended() == b""


@pytest.mark.parametrize(
    "wrong",
    [
        [START, {**BODY, "body": b"bo"}],
        [START, {**BODY, "body": b"too long"}],
        [START, {**BODY, "body": b"bo", "more_body": True}],
        [{**START, "headers": []}, {**BODY, "more_body": True}],
        [START, START],
    ],
)
async def test_an_answer_that_is_broken_off_is_not_taken_for_whole(wrong: list[Message]) -> None:
    async with serving(sends(wrong)) as pod:
        client = await pod.connect()
        await client.send(GET)
        try:
            said = await client.reader.read()
        except ConnectionResetError:
            return
        head, _, body = said.partition(b"\r\n\r\n")
        assert not body.endswith(b"0\r\n\r\n")
        assert b"content-length" not in head or len(body) < 4


async def test_a_body_comes_in_pieces_and_then_word_of_the_end() -> None:
    peer = Peer()
    one = exchange(peer)
    one.take(b"bo")
    assert await one.receive() == {"type": "http.request", "body": b"bo", "more_body": True}
    waiting = asyncio.create_task(one.receive())
    await asyncio.sleep(0)
    one.take(b"d")
    one.take(b"y")
    one.end()
    assert await waiting == {"type": "http.request", "body": b"dy", "more_body": False}
    waiting = asyncio.create_task(one.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    one.lose()
    assert (await waiting)["type"] == "http.disconnect"


async def test_no_more_of_a_body_is_read_than_somebody_takes() -> None:
    peer = Peer()
    one = exchange(peer)
    one.take(b"x" * HIGH_WATER)
    assert not peer.paused
    one.take(b"x")
    assert peer.paused
    await one.receive()
    waiting = asyncio.create_task(one.receive())
    await asyncio.sleep(0)
    assert not peer.paused
    one.end()
    await waiting


async def test_what_comes_after_the_answer_is_forgotten() -> None:
    peer = Peer()
    one = exchange(peer)
    await one.run(sends([START, BODY]))
    one.take(b"x" * (HIGH_WATER + 1))
    assert not peer.paused
    assert (await one.receive())["type"] == "http.disconnect"


async def test_nothing_of_a_request_is_kept_once_it_is_answered() -> None:
    class Piece(bytearray):
        """Bytes that a weak reference may refer to."""

    class Known(dict[str, Any]):
        """A scope of that kind."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        for message in (START, BODY):
            await send(dict(message))

    piece, scope = Piece(b"body"), Known(type="http", method="POST", http_version="1.1")
    one = Exchange(Peer(), scope, keep_alive=True, expects=False)
    one.take(cast("bytes", piece))
    held = weakref.ref(piece), weakref.ref(scope)
    del piece, scope
    await one.run(refuse)
    assert one.answered
    assert [each() for each in held] == [None, None]


async def test_a_client_that_waits_is_told_to_continue_once_somebody_wants_its_body() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        await client.send(POST.partition(b"\r\n\r\n")[0] + b"\r\nExpect: 100-continue\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        _, headers, answer = await client.ask(b"body")
        assert (answer, "connection" in headers) == (b"4", False)


async def test_a_client_of_http_1_0_is_not_told_to_continue() -> None:
    async with serving(echo) as pod:
        client = await pod.connect()
        head, _, body = POST.replace(b"HTTP/1.1", b"HTTP/1.0").partition(b"\r\n\r\n")
        await client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.ask(body))[0] == 200


async def test_a_client_that_waits_is_not_told_to_continue_if_nobody_wants_its_body() -> None:
    peer = Peer()
    one = exchange(peer, expects=True)
    await one.run(sends([START, BODY]))
    assert len(peer.written) == 1
    assert b"100" not in peer.written[0]
    assert b"\r\nconnection: close\r\n" in peer.written[0], "it may send it all the same"
