"""A gRPC call is an HTTP request to the application, and whatever becomes of that is the call's status."""

import asyncio
import zlib
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.codecs import http
from service.door.bodies import Body, Room
from service.errors import PodError
from tests.frames import Caller, calling, connect, message
from tests.serving import PATIENT

pytestmark = pytest.mark.anyio

MEGABYTE = 1 << 20


class App:
    """Answers with the message that came, as far as the door's rules let it in; or as it is told."""

    def __init__(self, *answer: Message, longest: int = 64 * MEGABYTE) -> None:
        self.answer, self.longest = answer, longest
        self.room = Room(longest + MEGABYTE, 1000)
        self.scopes: list[Scope] = []
        self.unpacked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.scopes.append(scope)

        async def counted() -> Message:
            piece = await receive()
            self.unpacked += len(piece.get("body", b""))
            return piece

        messages: tuple[Message, ...] = self.answer
        if not messages:
            try:
                with Body(self.room, longest=self.longest, declared=0, coding=None) as body:
                    messages = answer((await body.whole(counted))["body"])
            except PodError as error:
                messages = answer(str(error).encode(), http.status_of(error))
        for each in messages:
            await send(dict(each))

    def header(self, name: bytes) -> bytes | None:
        """Return a header of the last call."""
        return dict(self.scopes[-1]["headers"]).get(name)


def answer(body: bytes, status: int = 200, **headers: bytes) -> tuple[Message, ...]:
    lines = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    start = {"type": "http.response.start", "status": status, "headers": lines}
    return start, {"type": "http.response.body", "body": body}


async def test_a_call_is_answered() -> None:
    app = App()
    async with calling(app) as pod:
        caller = await connect(pod)
        answered = await caller.call(message(b"ping"))
        assert answered.head == {b":status": b"200", b"content-type": b"application/grpc", b"grpc-status": b"0"}
        assert (answered.body, answered.ended, answered.reset) == (message(b"ping"), True, None)
        scope = app.scopes[-1]
        assert (scope["path"], scope["method"], scope["http_version"]) == ("/a.B/C", "POST", "2")


async def test_of_metadata_the_application_is_told_what_it_looks_at() -> None:
    app = App()
    async with calling(app) as pod:
        given = {"authorization": b"Bearer x", "x_request_id": b"7", "traceparent": b"t", "content_length": b"9"}
        await (await connect(pod)).call(message(b"ping"), other=b"1", x_bin=b"AA", **given)
        names = [name for name, _ in app.scopes[-1]["headers"]]
        assert sorted(names) == [b"authorization", b"traceparent", b"x-request-id"]
        assert app.header(b"authorization") == b"Bearer x"


async def test_headers_of_an_answer_are_its_metadata_but_for_those_that_are_of_http() -> None:
    async with calling(App(*answer(b"", x_trace=b"1", content_length=b"0", connection=b"close", Upper=b"2"))) as pod:
        head = (await (await connect(pod)).call()).head
        assert {name: value for name, value in head.items() if name[:1] in b"xuc"} == {
            b"x-trace": b"1",
            b"upper": b"2",
            b"content-type": b"application/grpc",
        }


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 3),
        (401, 16),
        (403, 7),
        (404, 5),
        (413, 3),
        (429, 14),
        (503, 14),
        (504, 4),
        (501, 12),
        (500, 13),
        (418, 13),
    ],
)
async def test_a_failure_is_a_status_and_a_head_alone(status: int, code: int) -> None:
    async with calling(App(*answer(b"why", status))) as pod:
        answered = await (await connect(pod)).call()
        assert (answered.status, answered.text, answered.body, answered.ended) == (code, "why", b"", True)


@pytest.mark.parametrize("text", ["100 % ö\n\r\0", "\N{SNOWMAN}" * 4000, "%41", "~ !"])
async def test_a_failures_text_is_printable_and_not_long(text: str) -> None:
    async with calling(App(*answer(text.encode(), 400))) as pod:
        sent = (await (await connect(pod)).call()).text
        assert text.startswith(unquote(sent))
        assert sent.isascii()
        assert sent.isprintable()
        assert min(len(text), 341) <= len(unquote(sent))
        assert len(sent) <= 3072


async def test_a_client_is_told_when_to_try_again() -> None:
    async with calling(App(*answer(b"full", 429, retry_after=b"2"))) as pod:
        assert (await (await connect(pod)).call()).head[b"grpc-retry-pushback-ms"] == b"2000"


async def test_an_application_that_fails_is_an_end_of_the_stream_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await receive()
            raise RuntimeError("broken")

    async with calling(broken) as pod:
        caller = await connect(pod)
        assert [(await caller.call()).reset for _ in range(3)] == [2, 2, 2]
    assert {record.message for record in caplog.records} == {"the application failed"}


@pytest.mark.parametrize("kind", [b"text/plain", b"", b"application/grpc-web+proto", b"application/grpcx"])
async def test_what_is_no_grpc_is_told_so_by_http(kind: bytes) -> None:
    app = App()
    async with calling(app) as pod:
        assert (await (await connect(pod)).call(content_type=kind)).head == {b":status": b"415"}
        assert not app.scopes


@pytest.mark.parametrize("kind", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8"])
async def test_grpc_may_say_what_its_messages_are(kind: bytes) -> None:
    async with calling(App()) as pod:
        assert (await (await connect(pod)).call(content_type=kind)).status == 0


@pytest.mark.parametrize(
    ("given", "milliseconds"),
    [
        (b"1H", b"3600000"),
        (b"2M", b"120000"),
        (b"3S", b"3000"),
        (b"250m", b"250"),
        (b"1500u", b"1"),
        (b"99999999n", b"99"),
        (b"0S", b"1"),
        (b"99999999H", b"999999999"),
        (b"", None),
        (b"S", None),
        (b"-1S", None),
        (b"123456789S", None),
        (b"1s", None),
        ("\N{ARABIC-INDIC DIGIT ONE}S".encode(), None),
    ],
)
async def test_a_timeout_is_passed_in_milliseconds(given: bytes, milliseconds: bytes | None) -> None:
    app = App()
    async with calling(app) as pod:
        await (await connect(pod)).call(grpc_timeout=given)
        assert app.header(b"x-envoy-expected-rq-timeout-ms") == milliseconds


@pytest.mark.parametrize(
    ("proxy", "client", "counts"),
    [
        (b"700", b"", b"700"),
        (b"700", b"1S", b"700"),
        (b"700", b"600m", b"600"),
        (b"0", b"1S", b"1000"),
        (b"-7", b"1S", b"1000"),
    ],
)
async def test_of_what_a_proxy_and_the_client_will_wait_the_lower_counts(
    proxy: bytes, client: bytes, counts: bytes
) -> None:
    app = App()
    async with calling(app) as pod:
        await (await connect(pod)).call(x_envoy_expected_rq_timeout_ms=proxy, grpc_timeout=client)
        assert app.header(b"x-envoy-expected-rq-timeout-ms") == counts


async def test_a_packed_message_is_unpacked() -> None:
    async with calling(App()) as pod:
        caller = await connect(pod)
        sent = message(zlib.compress(b"data" * 1000), packed=True)
        assert (await caller.call(sent, grpc_encoding=b"deflate")).body == message(b"data" * 1000)


async def test_a_bomb_is_stopped_at_the_doors_limit_and_holds_nobody_up() -> None:
    app, other = App(longest=4 * MEGABYTE), 0
    packed = zlib.compress(b"\0" * (64 * MEGABYTE), 9)
    async with calling(app) as pod:
        caller, beside = await connect(pod), await connect(pod)
        number = await caller.begin(end=False, grpc_encoding=b"deflate")
        await caller.send(number, message(packed, packed=True))
        while not caller.streams[number].ended:
            await asyncio.gather(beside.call(), caller.read())
            other += 1
        answered = caller.streams[number]
        assert (answered.status, answered.text) == (3, f"the body is longer than {4 * MEGABYTE} bytes")
        assert app.unpacked <= app.longest + (64 << 10)
        assert app.room.taken == 0


async def test_an_unknown_packing_is_unimplemented_and_the_client_is_told_what_is_known() -> None:
    async with calling(App()) as pod:
        caller = await connect(pod)
        answered = await caller.call(message(b"data", packed=True), grpc_encoding=b"snappy")
        assert (answered.status, answered.head[b"grpc-accept-encoding"]) == (12, b"identity,deflate,gzip")
        assert (await caller.call(grpc_encoding=b"snappy")).status == 0


@pytest.mark.parametrize("sent", [b"\0\0", message(b"data")[:-1], b"\0\xff\xff\xff\xff" + bytes(100)])
async def test_a_message_that_is_cut_off_is_an_invalid_argument(sent: bytes) -> None:
    async with calling(App()) as pod:
        answered = await (await connect(pod)).call(sent)
        assert (answered.status, answered.text) == (3, "the message is cut off")


async def test_without_a_message_there_is_an_empty_one() -> None:
    async with calling(App()) as pod:
        caller = await connect(pod)
        answered = await caller.answer(await caller.begin())
        assert (answered.status, answered.body) == (0, message(b""))


@pytest.mark.parametrize("more", [message(b"two"), b"x" * 3, b"\1" * 100_000])
async def test_what_comes_behind_the_message_is_not_looked_at_and_costs_no_room(more: bytes) -> None:
    app = App()
    async with calling(app) as pod:
        caller = await connect(pod)
        for _ in range(3):
            assert (await caller.call(message(b"one") + more)).body == message(b"one")
        assert app.unpacked == 9


async def test_a_message_of_four_gigabytes_is_refused_when_it_is_longer_than_it_may_be() -> None:
    app = App(longest=MEGABYTE)
    async with calling(app) as pod:
        caller = await connect(pod)
        number = await caller.begin(b"\0\xff\xff\xff\xff", end=False)
        while not caller.streams[number].ended:
            with_room = min(16384, caller.h2.local_flow_control_window(number))
            caller.h2.send_data(number, bytes(with_room))
            await asyncio.gather(caller.flush(), caller.read() if with_room == 0 else asyncio.sleep(0.001))
            if app.room.taken == 0 and app.unpacked > MEGABYTE:
                await caller.answer(number)
        assert caller.streams[number].text == f"the body is longer than {MEGABYTE} bytes"
        assert app.unpacked < 3 * MEGABYTE
        assert (await caller.call(message(b"next"))).body == message(b"next")


@pytest.mark.parametrize("window", [100, 65535, 16 * MEGABYTE])
async def test_large_messages_go_both_ways_whatever_the_window(window: int) -> None:
    data = bytes(range(256)) * (100 if window == 100 else 20_000)
    async with calling(App()) as pod:
        caller = await connect(pod, window)
        assert (await caller.call(message(data))).body == message(data)


async def test_a_client_that_is_gone_is_told_of_after_the_message() -> None:
    heard: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            heard.append(await receive())
            try:
                await receive()
            finally:
                heard.append("gone")

    async with calling(app, replace(PATIENT)) as pod:
        caller: Caller = await connect(pod)
        number = await caller.begin(message(b"data"))
        while not heard:
            await asyncio.sleep(0.001)
        caller.h2.reset_stream(number)
        await caller.flush()
        while len(heard) < 2:
            await asyncio.sleep(0.001)
        assert heard[0] == {"type": "http.request", "body": b"data", "more_body": False}
