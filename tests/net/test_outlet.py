"""service/net/outlet.py: what an answer consists of arrives whole and in order, in as few writes as may be."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from service.net.outlet import Outlet
from tests.serving import GET, serving

pytestmark = pytest.mark.anyio


class Transport:
    """Notes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.write = self.written.append
        self.is_closing = bool


def outlet() -> tuple[Outlet, list[bytes], list[bytes]]:
    transport: Any = Transport()
    ended: list[bytes] = []
    return Outlet(transport, lambda: ended.extend(transport.written)), transport.written, ended


def test_head_and_body_go_out_together_and_the_rest_as_it_comes() -> None:
    out, written, _ = outlet()
    for piece in (b"head ", b"body", b"more"):
        out.write(piece)
    assert written == [b"head body", b"more"]


def test_a_long_body_is_not_copied() -> None:
    out, written, _ = outlet()
    long = b"x" * (1 << 20)
    out.write(b"head ")
    out.write(long)
    assert written == [b"head ", long]
    assert written[1] is long


def test_a_head_without_a_body_goes_out_at_the_end_and_once() -> None:
    out, written, ended = outlet()
    out.write(b"head ")
    assert written == []
    out.close()
    out.flush()
    assert written == ended == [b"head "]


def test_the_word_that_a_body_may_come_does_not_wait() -> None:
    out, written, _ = outlet()
    word = b"HTTP/1.1 100 Continue\r\n\r\n"
    out.write(word)
    assert written == [word]
    out.write(b"head ")
    out.write(b"body")
    assert written == [word, b"head body"]


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("length", [[], [(b"content-length", b"5")]])
async def test_every_kind_of_answer_arrives(method: bytes, length: list[tuple[bytes, bytes]]) -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            start: MutableMapping[str, Any] = {"type": "http.response.start", "status": 200, "headers": length}
            await send(start)
            await send({"type": "http.response.body", "body": b"hel", "more_body": True})
            await send({"type": "http.response.body", "body": b"lo"})

    async with serving(answer) as pod:
        client = await pod.connect()
        for _ in range(2):
            await client.send(GET.replace(b"GET", method))
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            body = b"" if method == b"HEAD" else b"hello" if length else b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
            assert await client.reader.readexactly(len(body)) == body
