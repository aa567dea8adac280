"""A client of HTTP/2 gets all its answers, and can do nothing else with the pod."""

import asyncio
import contextlib
import gc
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, cast

import grpc
import hpack
import pytest
from h2 import events
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from starlette.types import Receive, Scope, Send

from service.net import connections, http2
from service.net.drain import Drain
from service.net.http2 import Http2
from tests.frames import HEAD, Answered, Caller, calling, connect, gone, message
from tests.serving import PATIENT, Serving

pytestmark = pytest.mark.anyio

MEGABYTE = 1 << 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(1, 10)


class App:
    """Answers with the message, or with so many bytes; while it is held only when it is told to."""

    def __init__(self, size: int = -1, *, held: bool = False, reads: bool = True) -> None:
        self.size, self.reads = size, reads
        self.go, self.begun, self.cancelled, self.answered = asyncio.Event(), 0, 0, 0
        if not held:
            self.go.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.begun += 1
        try:
            body, more = b"", self.reads
            while more:
                piece = await receive()
                body, more = body + piece["body"], piece["more_body"]
            await self.go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body if self.size < 0 else bytes(self.size)})
            self.answered += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    @property
    def under_way(self) -> int:
        """Calls that have begun and not ended."""
        return self.begun - self.cancelled - self.answered


def frame(kind: int, number: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    """Return a frame, sound or not."""
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", number) + payload


def head(number: int = 1, flags: int = 5, without: bytes = b"", **lines: bytes) -> bytes:
    """Return the frame that begins a call."""
    changed = HEAD | {name.replace("__", ":").replace("_", "-").encode(): value for name, value in lines.items()}
    block = hpack.Encoder().encode([(name, value) for name, value in changed.items() if name != without])
    return frame(HEADERS, number, block, flags)


OPEN = PREFACE + frame(SETTINGS) + frame(SETTINGS, flags=1)


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    while not condition():
        await asyncio.sleep(0.001)


def connection(pod: Serving) -> Http2:
    """Return the server's side of the only connection."""
    (held,) = cast("set[Http2]", pod.server.server_state.connections)
    return held


@contextlib.asynccontextmanager
async def unmoved(caplog: pytest.LogCaptureFixture, app: App | None = None) -> AsyncIterator[Serving]:
    """Serve; afterwards the pod still answers, no call and no task is left, and nothing was logged."""
    app = app or App()
    before = len(asyncio.all_tasks())
    async with calling(app, replace(PATIENT, header=5.0)) as pod:
        yield pod
        assert (await (await connect(pod)).call(message(b"still here"))).status == 0
        for client in pod.clients:
            client.close()
        await gone(pod)
        await until(lambda: app.under_way == 0)
    await until(lambda: len(asyncio.all_tasks()) <= before)
    assert not caplog.records


async def test_calls_are_answered_side_by_side() -> None:
    app = App(held=True)
    async with calling(app) as pod:
        caller = await connect(pod)
        numbers = [await caller.begin(message(b"%d" % each)) for each in range(50)]
        await until(lambda: app.begun == 50)
        app.go.set()
        assert [(await caller.answer(number)).body for number in numbers] == [message(b"%d" % n) for n in range(50)]


async def test_an_answered_call_is_one_write() -> None:
    async with calling(App()) as pod:
        caller = await connect(pod)
        await caller.call()
        number = await caller.begin(message(b"data"))
        data = await caller.client.reader.read(1 << 16)
        assert [type(event) for event in caller.h2.receive_data(data) if getattr(event, "stream_id", 0) == number] == [
            events.ResponseReceived,
            events.DataReceived,
            events.TrailersReceived,
            events.StreamEnded,
        ]


async def test_a_call_that_is_answered_early_is_ended_and_the_connection_goes_on() -> None:
    """The client is still sending when the application has answered without a look at the message."""
    async with calling(App(7, reads=False)) as pod:
        caller = await connect(pod)
        for _ in range(40):  # more than all windows together
            number = await caller.begin(end=False)
            with contextlib.suppress(Exception):
                await caller.send(number, bytes(MEGABYTE - 1))
            answered = await caller.answer(number)
            assert (answered.status, answered.body) == (0, message(bytes(7)))
        assert not connection(pod)._calls


async def test_what_was_not_read_of_calls_taken_back_may_be_sent_again() -> None:
    app = App(held=True, reads=False)
    async with calling(app) as pod:
        caller = await connect(pod)
        for _ in range(40):
            number = await caller.begin(end=False)
            await caller.send(number, bytes(MEGABYTE - 1), end=False)
            caller.h2.reset_stream(number)
            await caller.flush()
        app.reads = True
        app.go.set()
        assert (await caller.call(message(bytes(2 * MEGABYTE)))).body == message(bytes(2 * MEGABYTE))


async def test_a_call_that_is_taken_back_is_cancelled() -> None:
    app = App(held=True)
    async with calling(app) as pod:
        caller = await connect(pod)
        number, other = await caller.begin(message(b"")), await caller.begin(message(b"other"))
        await until(lambda: app.begun == 2)
        caller.h2.reset_stream(number)
        await caller.flush()
        await until(lambda: app.cancelled)
        app.go.set()
        assert (await caller.answer(other)).body == message(b"other")


async def test_a_call_that_is_taken_back_with_the_same_breath_leaves_nothing() -> None:
    async with calling(App()) as pod:
        caller = await connect(pod)
        await caller.flush(b"".join(head(number) + frame(RST, number, bytes(4)) for number in range(1, 200, 2)))
        await until(lambda: connection(pod)._talk.taken_back == 100)
        assert connection(pod).idle
        pod.server.drain()
        await caller.end()
        await pod.task


async def test_all_calls_of_a_lost_connection_are_cancelled() -> None:
    app = App(held=True)
    async with calling(app) as pod:
        caller = await connect(pod)
        for _ in range(20):
            await caller.begin(message(b""))
        await until(lambda: app.begun == 20)
        caller.client.writer.transport.abort()
        await until(lambda: app.cancelled == 20)


async def test_a_client_that_says_it_will_call_no_more_gets_its_answers() -> None:
    app = App(held=True)
    async with calling(app) as pod:
        caller = await connect(pod)
        number = await caller.begin(message(b"data"))
        await until(lambda: app.begun)
        await caller.flush(frame(GOAWAY, payload=bytes(8)) + frame(PING, payload=b"are you?"))
        await caller.said(events.PingAckReceived)
        app.go.set()
        assert (await caller.answer(number)).body == message(b"data")
        await caller.end()
        await gone(pod)


async def test_a_client_that_calls_after_it_said_it_would_not_is_refused() -> None:
    app = App(held=True)
    async with calling(app) as pod:
        caller = await connect(pod)
        await caller.begin(message(b"data"))
        await caller.flush(frame(GOAWAY, payload=bytes(8)))
        assert (await caller.answer(await caller.begin())).reset == 7
        assert app.begun == 1


# What a client lets through.


@pytest.mark.parametrize("size", [0, 5, 100_000])
async def test_an_answer_that_is_not_let_through_is_given_up(size: int, caplog: pytest.LogCaptureFixture) -> None:
    app = App(size)
    async with calling(app, replace(PATIENT, header=0.1)) as pod:
        caller = await connect(pod, window=0, reads=False)
        number = await caller.begin(message(b""))
        assert (await caller.answer(number)).reset == 2
        await until(lambda: app.cancelled == 1)
        assert connection(pod).idle
    assert not caplog.records


async def test_an_answer_that_is_let_through_byte_by_byte_is_given_up() -> None:
    app = App(100_000)
    async with calling(app, replace(PATIENT, header=0.3)) as pod:
        caller = await connect(pod, window=0, reads=False)
        number = await caller.begin(message(b""))
        reading = asyncio.create_task(caller.answer(number))
        while not reading.done():
            caller.h2.increment_flow_control_window(1, number)
            await caller.flush()
            await asyncio.sleep(0.01)
        answered = await reading
        assert answered.reset == 2
        assert 0 < len(answered.body) < 1000


async def test_answers_that_wait_for_one_window_have_their_turn() -> None:
    """The connection's window is 64 KiB, a stream's is larger: each update lets the next ones through."""
    app = App(20_000)
    async with calling(app) as pod:
        caller = await connect(pod, window=MEGABYTE, reads=False)
        numbers = [await caller.begin(message(b"")) for _ in range(100)]
        await until(lambda: app.begun == 100)
        await caller.until(lambda: sum(len(each.body) for each in caller.streams.values()) == 65535)
        assert len(connection(pod)._out._waiting) == 97
        while not all(caller.streams[number].ended for number in numbers):
            caller.h2.increment_flow_control_window(65535)
            await caller.flush()
            await caller.read()
        assert app.answered == 100


async def test_a_client_that_opens_its_windows_with_every_frame_gets_a_long_answer() -> None:
    """And asks each time how long that takes, as gRPC's own clients do."""
    async with calling(App(400_000)) as pod:
        caller = await connect(pod, window=200, reads=False)
        answered, read = caller.streams[await caller.begin(message(b""))], 0
        while not (answered.ended or caller.ended):
            await caller.read()
            if (new := len(answered.body) - read) and not answered.ended:
                caller.h2.increment_flow_control_window(new, 1)
                caller.h2.increment_flow_control_window(new)
                caller.h2.ping(bytes(8))
                await caller.flush()
                read += new
        assert answered.body == message(bytes(400_000))


async def test_a_window_that_opens_a_little_wakes_no_more_than_one_answer() -> None:
    app = App(20_000)
    async with calling(app) as pod:
        caller = await connect(pod, window=MEGABYTE, reads=False)
        for _ in range(100):
            await caller.begin(message(b""))
        await until(lambda: app.begun == 100)
        await caller.until(lambda: sum(len(each.body) for each in caller.streams.values()) == 65535)
        waiting = connection(pod)._out._waiting
        before = dict(waiting)
        caller.h2.increment_flow_control_window(1)
        await caller.flush()
        await caller.until(lambda: sum(len(each.body) for each in caller.streams.values()) == 65536)
        assert sum(waiting[number] is not before[number] for number in before) == 1


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    app = App(64 * MEGABYTE)
    async with calling(app, replace(PATIENT, header=0.2)) as pod:
        caller = await connect(pod, window=(1 << 31) - 1, reads=False)
        caller.h2.increment_flow_control_window((1 << 31) - 1 - 65535)
        await caller.begin(message(b""))
        await gone(pod)
        await until(lambda: app.cancelled)


async def test_an_answer_is_not_written_ahead_of_its_reader() -> None:
    app = App(64 * MEGABYTE)
    async with calling(app) as pod:
        caller = await connect(pod, window=(1 << 31) - 1, reads=False)
        caller.h2.increment_flow_control_window((1 << 31) - 1 - 65535)
        await caller.begin(message(b""))
        await until(lambda: connection(pod)._out.paused)
        assert connection(pod).transport.get_write_buffer_size() < MEGABYTE


@pytest.mark.parametrize("allowed", [0, 4096, 65536, (1 << 32) - 1])
async def test_of_the_heads_that_were_sent_no_more_is_kept_than_by_default(allowed: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            name = dict(scope["headers"])[b"x-request-id"]
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", name)]})
            await send({"type": "http.response.body"})

    async with calling(app) as pod:
        caller = await connect(pod)
        caller.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: allowed})
        for number in range(100):
            name = b"%0128d" % number
            assert (await caller.call(x_request_id=name)).head[b"x-request-id"] == name
        table = connection(pod)._h2.encoder.header_table
        assert sum(len(name) + len(value) + 32 for name, value in table.dynamic_entries) <= min(allowed, 4096)


# The end.


async def test_a_drained_connection_is_told_so_and_loses_no_call() -> None:
    app = App(held=True)
    async with calling(app, drain=Drain(delay=0.0, timeout=20.0)) as pod:
        caller = await connect(pod)
        first = await caller.begin(message(b"first"))
        await until(lambda: app.begun)
        # The client has called before it read that it should not.
        second = await caller.begin(end=False)
        pod.server.drain()
        told = await caller.said(events.ConnectionTerminated)
        assert (told.last_stream_id, told.error_code) == ((1 << 31) - 1, 0)
        await caller.send(second, message(b"second"))
        app.go.set()
        assert (await caller.answer(first)).body == message(b"first")
        assert (await caller.answer(second)).body == message(b"second")
        await caller.end()
        await pod.task


async def test_a_connection_that_ends_is_listened_to_until_its_client_closes() -> None:
    """What the server has not read when it closes would reset the connection, and take the last answer with it."""
    app = App(MEGABYTE)
    async with calling(app, drain=Drain(delay=0.0, timeout=20.0)) as pod:
        caller = await connect(pod)
        number = await caller.begin(message(b""))
        await until(lambda: app.begun)
        pod.server.drain()
        while not caller.ended:
            await caller.read()
            await caller.flush(frame(PING, payload=bytes(8)) * 3)
        assert len(caller.streams[number].body) == MEGABYTE + 5
        await caller.flush(frame(PING, payload=bytes(8)))
        assert not connection(pod).transport.is_closing()
        caller.client.close()
        await pod.task


async def test_a_connection_made_meanwhile_serves_what_it_was_made_for() -> None:
    async with calling(App(), drain=Drain(delay=30.0, timeout=20.0)) as pod:
        pod.server.drain()
        caller = await connect(pod)
        assert (await caller.call(message(b"data"))).body == message(b"data")
        assert any(isinstance(event, events.ConnectionTerminated) for event in caller.events)
        await caller.end()
        await gone(pod)


async def test_a_client_on_its_way_gets_its_first_answers_although_the_end_has_begun() -> None:
    async with calling(App(), drain=Drain(delay=0.0, timeout=20.0)) as pod:
        caller = Caller(await pod.connect())
        await until(lambda: pod.server.server_state.connections)
        pod.server.drain()
        await until(lambda: pod.server.server_state.closing)
        await caller.flush(frame(SETTINGS, flags=1))
        assert (await caller.call(message(b"data"))).body == message(b"data")
        await caller.end()
        await pod.task


async def test_idle_connections_do_not_hold_up_the_end() -> None:
    async with calling(App(), drain=Drain(delay=0.0, timeout=3600.0)) as pod:
        callers = [await connect(pod) for _ in range(3)]
        await callers[0].call()
        pod.server.drain()
        await asyncio.gather(*(caller.end() for caller in callers))
        await pod.task


@pytest.mark.parametrize("acknowledges", [False, True])
async def test_a_client_that_answers_no_ping_does_not_hold_up_the_end(acknowledges: bool) -> None:
    """Nor does it by reading the settings again and again."""
    async with calling(App(), replace(PATIENT, header=0.2), Drain(delay=0.0, timeout=3600.0)) as pod:
        caller = await connect(pod)
        await caller.call()
        pod.server.drain()
        while acknowledges and pod.server.server_state.connections:
            with contextlib.suppress(ConnectionError):
                await caller.client.send(frame(SETTINGS, flags=1))
            await asyncio.sleep(0.05)
        await pod.task


async def test_an_old_connection_is_made_anew_without_the_loss_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "_AGE", 0.05)
    app = App()
    async with calling(app) as pod:
        for _ in range(3):
            caller, answered = await connect(pod), list[Answered]()
            while not any(isinstance(event, events.ConnectionTerminated) for event in caller.events):
                answered.append(await caller.call(message(b"data")))
            await caller.end()
            assert {each.body for each in answered} == {message(b"data")}
        await gone(pod)


async def test_grpcs_own_clients_lose_no_call_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor on the way there, where their connections are made anew again and again."""
    monkeypatch.setattr(http2, "_AGE", 0.1)
    async with calling(App(), drain=Drain(delay=0.0, timeout=20.0)) as pod:
        clients = [asyncio.create_task(asyncio.to_thread(call_until_the_end, pod.port)) for _ in range(12)]
        await asyncio.sleep(1)
        pod.server.drain()
        await pod.task
        for answered, failure in await asyncio.gather(*clients):
            assert "failed to connect" in failure, answered


def call_until_the_end(port: int) -> tuple[int, str]:
    """Call until that fails; return how many calls were answered, and what the failure was.

    A call that the client has begun, but not sent when it is told to connect anew, is sent on the next connection.
    """
    options, answered = [("grpc.use_local_subchannel_pool", 1)], 0
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        call: Any = channel.unary_unary("/a.B/C")
        try:
            while True:
                assert call(b"data") == b"data"
                answered += 1
        except grpc.RpcError as error:
            return answered, str(error.details())


async def test_a_connection_is_as_idle_as_its_last_call_is_old() -> None:
    async with calling(App(), replace(PATIENT, connections=2)) as pod:
        first, second = await connect(pod), await connect(pod)
        await second.call()
        await asyncio.sleep(0.01)
        await first.call()
        third = await connect(pod)
        assert (await third.call(message(b"3"))).body == message(b"3")
        assert (await first.call(message(b"1"))).body == message(b"1")
        await second.end()


async def test_connections_that_say_nothing_keep_nobody_out() -> None:
    async with calling(App(), replace(PATIENT, connections=2)) as pod:
        for _ in range(5):
            await pod.connect()
        assert (await (await connect(pod)).call(message(b"a"))).body == message(b"a")


@pytest.mark.parametrize("said", [b"", PREFACE[:9], PREFACE, PREFACE + frame(SETTINGS)[:5], PREFACE + frame(SETTINGS)])
async def test_a_client_that_does_not_say_what_it_must_is_cut_off(said: bytes) -> None:
    async with calling(App(), replace(PATIENT, header=0.1)) as pod:
        client = await pod.connect()
        await client.send(said)
        with contextlib.suppress(ConnectionError):
            await client.ended()
        await gone(pod)


async def test_a_client_that_is_sent_away_and_stays_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async with calling(App(), replace(PATIENT, header=0.2)) as pod:
        client = await pod.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n")
        await client.reader.read(1000)
        for _ in range(10):
            await client.send(bytes(1000))
        await gone(pod)
    assert not caplog.records


# Attacks.

LONG = (b"a" * 20, b"b" * 4000)
BROKEN = {
    "HTTP/1": b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "an overlong frame": OPEN + frame(PING, payload=bytes(17000)),
    "a ping too short": OPEN + frame(PING, payload=bytes(7)),
    "data on stream 0": OPEN + frame(0, 0, b"data"),
    "data on an idle stream": OPEN + frame(0, 5, b"data"),
    "a call on an even stream": OPEN + head(2),
    "a stream used again": OPEN + head(3) + head(1),
    "settings on a stream": OPEN + frame(SETTINGS, 1),
    "settings of no size": OPEN + frame(SETTINGS, payload=b"\0\4\0"),
    "an impossible window": OPEN + frame(SETTINGS, payload=b"\0\4\xff\xff\xff\xff"),
    "an impossible frame size": OPEN + frame(SETTINGS, payload=b"\0\5\0\0\0\1"),
    "acknowledged settings with content": OPEN + frame(SETTINGS, payload=b"\0\4\0\0\0\1", flags=1),
    "no window update": OPEN + frame(WINDOW, 0, bytes(4)),
    "no window update of a stream": OPEN + head(flags=4) + frame(WINDOW, 1, bytes(4)),
    "too large a window": OPEN + frame(WINDOW, 0, b"\x7f\xff\xff\xff"),
    "a push": OPEN + frame(PUSH, 1, bytes(4)),
    "a priority of itself": OPEN + frame(PRIORITY, 1, b"\0\0\0\1\0"),
    "a continuation of nothing": OPEN + frame(CONTINUATION, 1, b""),
    "a continuation of a call": OPEN + head() + frame(CONTINUATION, 1, b""),
    "a ping amid a head": OPEN + head(flags=1) + frame(PING, payload=bytes(8)),
    "broken compression": OPEN + frame(HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff", 5),
    "a table too large": OPEN + frame(HEADERS, 1, b"\x3f\xe1\xff\x03" + b"\x82" * 9, 5),
    "padding longer than its frame": OPEN + head(flags=4) + frame(0, 1, b"\xff" + bytes(5), 8),
    "a bomb": OPEN + frame(HEADERS, 1, hpack.Encoder().encode([LONG]) + b"\xbe" * 9000, 5),
    "a head of a megabyte": OPEN + frame(HEADERS, 1, bytes(16384), 0) + frame(CONTINUATION, 1, bytes(16384)) * 63,
    "no method": OPEN + head(without=b":method"),
    "CONNECT with a path": OPEN + head(__method=b"CONNECT"),
    "no path": OPEN + head(without=b":path"),
    "no scheme": OPEN + head(without=b":scheme"),
    "an empty path": OPEN + head(__path=b""),
    "an answer's header": OPEN + head(__status=b"200"),
    "an unknown pseudo header": OPEN + head(__what=b"1"),
    "an upper-case name": OPEN + head(Name=b"1"),
    "an empty name": OPEN + frame(HEADERS, 1, hpack.Encoder().encode([*HEAD.items(), (b"", b"1")]), 5),
    "a line break": OPEN + head(name=b"a\r\nb: c"),
    "a connection header": OPEN + head(connection=b"close"),
    "transfer-encoding": OPEN + head(transfer_encoding=b"chunked"),
    "te other than trailers": OPEN + head(te=b"gzip"),
    "a method twice": OPEN + frame(HEADERS, 1, hpack.Encoder().encode([*HEAD.items(), (b":method", b"GET")]), 5),
    "trailers with a pseudo header": OPEN + head(flags=4) + head(flags=5),
    "trailers that do not end": OPEN + head(flags=4) + frame(HEADERS, 1, hpack.Encoder().encode([(b"a", b"b")]), 4),
    "a length that lies": OPEN + head(flags=4, content_length=b"3") + frame(0, 1, b"data", 1),
    "a length that is none": OPEN + head(content_length=b"-1"),
    "far too many calls": OPEN + b"".join(head(number, 4) for number in range(1, 2401, 2)),
    "more than the window": OPEN + head(flags=4) + frame(0, 1, bytes(16384)) * 65,
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("pieces", [1, 3])
async def test_who_does_not_keep_the_protocol_is_told_and_sent_away(
    name: str, pieces: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with unmoved(caplog, App(reads=name != "more than the window", held=True)) as pod:
        client, data = await pod.connect(), BROKEN[name]
        size = max(1, len(data) // pieces)
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(data), size):
                await client.send(data[start : start + size])
                await asyncio.sleep(0.001)
            said = await client.ended()
            assert (frames(said)[-1][0] == GOAWAY) is data.startswith(PREFACE)
        cast("App", pod.server.config.app).go.set()


def frames(data: bytes) -> list[tuple[int, int]]:
    """Return kinds and streams of frames."""
    found = []
    while data:
        size = int.from_bytes(data[:3], "big")
        found.append((data[3], int.from_bytes(data[5:9], "big")))
        data = data[9 + size :]
    return found


async def test_a_head_is_no_longer_than_the_client_was_told() -> None:
    async with calling(App()) as pod:
        caller = await connect(pod)
        assert (await caller.call(authorization=b"x" * 15_000)).status == 0
        assert (await caller.call(authorization=b"x" * 17_000)).status == 8
        assert not (await caller.call(authorization=b"x" * 70_000)).head
        assert (await caller.said(events.ConnectionTerminated)).error_code == 11


async def test_of_a_head_the_lines_count_as_the_protocol_counts_them() -> None:
    """Each as 32 bytes more than it has."""
    lines = sum(len(name) + len(value) + 32 for name, value in HEAD.items()) + len(b"cookie") + 32
    async with calling(App()) as pod:
        caller = await connect(pod)
        assert (await caller.call(cookie=b"x" * ((16 << 10) - lines))).status == 0
        assert (await caller.call(cookie=b"x" * ((16 << 10) - lines + 1))).status == 8


@pytest.mark.parametrize("size", [17_000, 20_000, 60_000])
async def test_a_call_whose_head_is_too_long_is_refused_and_its_neighbours_go_on(size: int) -> None:
    """Several clients' calls come on one connection from a proxy, which may take longer heads than this server."""
    app = App(held=True)
    async with calling(app) as pod:
        caller = await connect(pod)
        neighbour = await caller.begin(end=False)
        await until(lambda: app.begun)
        await caller.flush(frame(PING, payload=bytes(8)) * 2000)
        for end in (True, False):
            refused = await caller.answer(await caller.begin(end=end, cookie=b"a" * size))
            assert (refused.status, refused.text, refused.body) == (8, "the head is longer than 16384 bytes", b"")
        assert (await caller.call(cookie=b"a" * size)).status == 8
        app.go.set()
        await caller.send(neighbour, message(b"data"))
        assert (await caller.answer(neighbour)).body == message(b"data")
        assert (app.begun, pod.server.server_state.calls) == (1, 0)


ODD = {
    "a path that is not ASCII": head(__path="/ä".encode()),
    "a path that is no path": head(__path=b"*"),
    "a path of ten kilobytes": head(__path=b"/" + b"a" * 10_000),
    "CONNECT": frame(HEADERS, 1, hpack.Encoder().encode([(b":method", b"CONNECT"), *list(HEAD.items())[3:]]), 5),
    "GET": head(__method=b"GET"),
    "a header twice": frame(HEADERS, 1, hpack.Encoder().encode([*HEAD.items(), *list(HEAD.items())[4:]]), 5),
    "a value that is not ASCII": head(user_agent=b"\xff\xfe"),
    "a priority": frame(HEADERS, 1, bytes(5) + head()[9:], 0x25),
    "padding": head(flags=4) + frame(0, 1, b"\x05" + message(b"") + bytes(5), 9),
    "an unknown frame": frame(200, 0, b"what") + head(),
}


@pytest.mark.parametrize("name", ODD)
async def test_a_call_that_is_odd_is_answered(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with unmoved(caplog) as pod:
        client = await pod.connect()
        await client.send(OPEN + ODD[name])
        said = b""
        while (HEADERS, 1) not in frames(said):
            piece = await client.reader.read(1000)
            assert piece
            said += piece
        assert GOAWAY not in dict(frames(said))


FLOODS = {
    "pings": frame(PING, payload=bytes(8)),
    "settings": frame(SETTINGS, payload=b"\0\4\0\0\0\0") + frame(SETTINGS, payload=b"\0\4\x7f\0\0\0"),
    "acknowledgements": frame(SETTINGS, flags=1),
    "priorities": frame(PRIORITY, 9, b"\0\0\0\1\0"),
    "window updates": frame(WINDOW, 0, b"\0\0\0\1"),
    "window updates of a call": frame(WINDOW, 1, b"\0\0\0\1"),
    "empty data": frame(0, 1),
    "padding": frame(0, 1, b"\x05" + bytes(5), 8),
    "unknown frames": frame(200, 1),
    "resets of nothing": frame(RST, 1, bytes(4)) * 2,
    "goaways": frame(GOAWAY, payload=bytes(8)),
    "alternative services": frame(10, 1, b"\0\0what"),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_of_what_brings_no_call_on_is_ended(name: str, caplog: pytest.LogCaptureFixture) -> None:
    app = App(held=True)
    async with unmoved(caplog, app) as pod:
        client = await pod.connect()
        await client.send(OPEN + head(flags=4))
        await until(lambda: app.begun)
        reading, sent = asyncio.create_task(client.reader.read()), 0
        with contextlib.suppress(ConnectionError, RuntimeError):
            while not reading.done():
                await client.send(FLOODS[name] * 100)
                sent += 100 * len(FLOODS[name])
                await asyncio.sleep(0)
                assert sent < 8 * MEGABYTE
            await reading
        reading.cancel()
        app.go.set()


async def test_calls_that_end_before_their_messages_allow_no_more_than_what_can_be_on_its_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with unmoved(caplog, App(7, reads=False)) as pod:
        caller, sent = await connect(pod), 0
        for _ in range(64):
            await caller.answer(await caller.begin(end=False))
        reading = asyncio.create_task(caller.client.reader.read())
        with contextlib.suppress(ConnectionError, RuntimeError):
            while not reading.done():
                await caller.client.send(frame(200, 1, bytes(16384)))
                sent += 16384
                await asyncio.sleep(0)
                assert sent < 40 * MEGABYTE
            await reading
        reading.cancel()


@pytest.mark.parametrize("end", ["taken back", "made to be reset", "by data", "by a head"])
async def test_calls_that_are_made_to_be_cancelled_are_ended(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """CVE-2023-44487, and CVE-2025-8671, in which it is the server that resets."""
    ends: dict[str, Callable[[int], bytes]] = {
        "taken back": lambda number: head(number, 4) + frame(RST, number, bytes(4)),
        "made to be reset": lambda number: head(number, 4) + frame(WINDOW, number, b"\x7f\xff\xff\xff"),
        "by data": lambda number: head(number) + frame(0, number, b"data"),
        "by a head": lambda number: head(number) + frame(HEADERS, number, b"", 5),
    }
    app = App(held=True)
    async with unmoved(caplog, app) as pod:
        client = await pod.connect()
        await client.send(OPEN)
        reading, number = asyncio.create_task(client.reader.read()), 1
        with contextlib.suppress(ConnectionError, RuntimeError):
            while not reading.done():
                await client.send(b"".join(map(ends[end], range(number, number + 40, 2))))
                number += 40
                await asyncio.sleep(0)
            await reading
        app.go.set()
        assert app.begun <= 1100


async def test_calls_may_be_taken_back_as_long_as_others_are_answered() -> None:
    app = App()
    async with calling(app) as pod:
        caller = await connect(pod)
        for _ in range(1500):
            number = await caller.begin(end=False)
            caller.h2.reset_stream(number)
            assert (await caller.call(message(b"data"))).body == message(b"data")


@pytest.mark.parametrize("calls", [128, 129, 200, 1000])
async def test_calls_beyond_what_one_connection_may_have_are_refused_and_the_others_answered(calls: int) -> None:
    """A client may call before it has read how many calls it may have."""
    app = App(held=True)
    async with calling(app) as pod:
        caller = Caller(await pod.connect())
        numbers = range(1, 2 * calls, 2)
        caller.next = 2 * calls + 1
        for number in numbers:
            caller.streams[number] = Answered()
            caller.h2.send_headers(number, list(HEAD.items()))
            caller.h2.send_data(number, message(b"%d" % number), end_stream=True)
        await caller.flush()
        assert [(await caller.answer(number)).reset for number in numbers[128:]] == [7] * (calls - 128)
        await until(lambda: app.begun == 128)
        app.go.set()
        assert [(await caller.answer(n)).body for n in numbers[:128]] == [message(b"%d" % n) for n in numbers[:128]]
        assert (await caller.call(message(b"next"))).body == message(b"next")
        assert app.begun == 129


async def test_calls_beyond_what_all_connections_may_have_are_refused_until_others_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "ALL_CALLS", 4)
    app = App(held=True)
    async with calling(app) as pod:
        one, other, lost = [await connect(pod) for _ in range(3)]
        numbers = [await one.begin(message(b"data")) for _ in range(2)]
        await other.begin(message(b""))
        await lost.begin(message(b""))
        await until(lambda: app.begun == 4)
        assert (await one.answer(await one.begin(message(b"more")))).reset == 7
        other.h2.reset_stream(1)
        await other.flush()
        lost.client.close()
        await until(lambda: pod.server.server_state.calls == 2)
        app.go.set()
        assert (await other.call(message(b"again"))).status == 0
        assert [(await one.answer(number)).body for number in numbers] == [message(b"data")] * 2
        assert pod.server.server_state.calls == 0


async def test_no_connection_keeps_others_from_their_share_of_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither does one that does not let its answers through, until it is given up."""
    monkeypatch.setattr(connections, "ALL_CALLS", 6)
    app = App()
    async with calling(app) as pod:
        greedy, other = await connect(pod, window=0), await connect(pod)
        for _ in range(6):
            await greedy.begin(message(b""))
        await until(lambda: app.begun == 6)
        assert (await greedy.answer(await greedy.begin(message(b"")))).reset == 7
        for _ in range(10):
            assert (await other.call(message(b"data"))).body == message(b"data")
        app.go.clear()
        numbers = [await other.begin(message(b"data")) for _ in range(3)]
        assert (await other.answer(await other.begin(message(b"more")))).reset == 7
        app.go.set()
        assert [(await other.answer(number)).body for number in numbers] == [message(b"data")] * 3
        assert pod.server.server_state.calls == 6


async def test_a_client_whose_calls_are_refused_may_have_begun_to_send_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "CALLS", 0)
    async with calling(App()) as pod:
        caller = await connect(pod)
        for _ in range(40):
            number = await caller.begin(end=False)
            with contextlib.suppress(ProtocolError):
                await caller.send(number, bytes(MEGABYTE - 1))
            assert (await caller.answer(number)).reset == 7


async def test_many_calls_with_long_heads_are_no_flood() -> None:
    app = App(held=True)
    async with calling(app) as pod:
        caller = await connect(pod)
        numbers = [await caller.begin(message(b""), authorization=b"%d" % n * 1000) for n in range(100)]
        await until(lambda: app.begun == 100)
        app.go.set()
        for number in numbers:
            assert (await caller.answer(number)).status == 0


async def test_a_message_in_single_bytes_is_no_flood() -> None:
    async with calling(App()) as pod:
        caller = await connect(pod)
        number, data = await caller.begin(end=False), message(bytes(30_000))
        for start in range(0, len(data), 500):
            for byte in data[start : start + 500]:
                caller.h2.send_data(number, bytes([byte]))
            await caller.flush()
        caller.h2.end_stream(number)
        await caller.flush()
        assert (await caller.answer(number)).body == data


async def test_one_connection_holds_no_more_than_its_windows(caplog: pytest.LogCaptureFixture) -> None:
    app = App(held=True, reads=False)
    async with unmoved(caplog, app) as pod:
        caller = await connect(pod)
        for number in [await caller.begin(end=False) for _ in range(128)]:
            while size := min(caller.h2.local_flow_control_window(number), 16384):
                caller.h2.send_data(number, bytes(size))
                await caller.flush()
        calls = connection(pod)._calls.values()
        await until(lambda: connection(pod)._h2.inbound_flow_control_window == 0)
        held = sum(len(call._incoming.arrived) for call in calls)
        assert held <= 16 * MEGABYTE + 65535
        app.go.set()


async def test_memory_is_flat_over_many_calls() -> None:
    async with calling(App()) as pod:
        caller = await connect(pod)
        sizes = []
        for _ in range(3):
            for _ in range(300):
                await caller.call(message(b"data"))
            gc.collect()
            sizes.append(len(connection(pod)._h2.streams) + len(connection(pod)._calls))
        assert max(sizes) <= 2


@pytest.mark.parametrize("half", [False, True])
async def test_a_client_that_says_no_more_is_gone(half: bool) -> None:
    app = App(held=True)
    async with calling(app) as pod:
        caller = await connect(pod)
        await caller.begin(message(b""))
        await until(lambda: app.begun)
        if half:
            caller.client.writer.write_eof()
        else:
            caller.client.close()
        await until(lambda: app.cancelled)
        await gone(pod)


async def test_connections_leave_little_for_the_garbage_collector_and_no_task() -> None:
    before = len(asyncio.all_tasks())
    async with calling(App(held=True)) as pod:
        for _ in range(200):
            client = await pod.connect()
            await client.send(OPEN + head() + head(3)[:20])
            client.writer.transport.abort()
        await gone(pod)
        assert len(asyncio.all_tasks()) <= before + 3
