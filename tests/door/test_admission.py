"""The door lets in whom it should, for as long as it should, and forgets nobody."""

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from service.door.admission import Admission, Limits
from service.door.tokens import Tokens
from service.errors import InvalidRequest, Overloaded, PodError
from service.metrics import Metrics
from service.routes import respond

pytestmark = pytest.mark.anyio

LIMITS = Limits(body_bytes=10, binary_bytes=30, inflight_bytes=100, inflight=2, seconds=30.0)
BEARER = (b"authorization", b"Bearer secret")


class Caller:
    """One request to the app under test; its answer is kept."""

    def __init__(self, path: str = "/infer", headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers)}
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        self.reads = 0

    def body(self, data: bytes = b"", *, more: bool = False) -> "Caller":
        self.messages.put_nowait({"type": "http.request", "body": data, "more_body": more})
        return self

    def leave(self) -> None:
        self.messages.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> Message:
        self.reads += 1
        return await self.messages.get()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def ask(self, door: Admission) -> int:
        """Return the status, 0 if there was no answer."""
        await door(self.scope, self.receive, self.send)
        return int(self.sent[0]["status"]) if self.sent else 0

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body that came."""
    message = await receive() if scope["path"] in ("/infer", "/tensors") else {}
    await Response(message.get("body", b""))(scope, receive, send)


class Held:
    """An app that reads, answers when it is told to, and notes when it is stopped."""

    def __init__(self) -> None:
        self.begun, self.go = asyncio.Semaphore(0), asyncio.Event()
        self.stopped = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        self.begun.release()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        await Response(b"late")(scope, receive, send)


@dataclass
class Place:
    """What a route table says."""

    is_open: bool
    inference: str | None
    binary: bool


def find(scope: Scope) -> Place:
    path = scope["path"]
    return Place(path == "/open", "infer" if path in ("/infer", "/tensors") else None, path == "/tensors")


def door(
    inner: Callable[[Scope, Receive, Send], Awaitable[None]] = app, limits: Limits = LIMITS, tokens: Path | str = ""
) -> tuple[Admission, CollectorRegistry]:
    registry = CollectorRegistry()
    metrics, known = Metrics(registry, ["infer"]), Tokens(str(tokens))
    admission = Admission(inner, limits=limits, metrics=metrics, authorize=known.authorize, find=find, respond=respond)
    return admission, registry


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("secret\nother\n")
    return path


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


# Who may in


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        (b"Basic secret", 401),
        (b"Bearer", 401),
        (b"Bearer ", 401),
        (b"Bearer wrong", 403),
        (b"Bearer secret2", 403),
        (b"Bearer secret", 200),
        (b"bearer other", 200),
    ],
)
async def test_a_known_bearer_token_is_required(tokens: Path, header: bytes | None, status: int) -> None:
    entrance, registry = door(tokens=tokens)
    caller = Caller(headers=((b"authorization", header),) if header is not None else ()).body()
    assert await caller.ask(entrance) == status
    assert value(registry, "tfpod_requests_total", route="infer") == (status == 200)
    assert bool(caller.reads) == (status == 200), "a stranger's body is not read"
    assert (b"www-authenticate" in caller.headers) == (status == 401)


async def test_what_is_open_needs_no_token_and_all_else_does(tokens: Path) -> None:
    entrance, _ = door(tokens=tokens)
    assert await Caller("/open").ask(entrance) == 200
    assert await Caller("/nowhere").ask(entrance) == 401


async def test_without_a_token_file_everybody_is_let_in() -> None:
    assert await Caller().body().ask(door()[0]) == 200


@pytest.mark.parametrize("content", [None, "", "\n  \n"])
async def test_a_token_file_that_is_missing_or_empty_closes_the_pod(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "tokens"
    if content is not None:
        path.write_text(content)
    entrance, _ = door(tokens=path)
    assert await Caller(headers=(BEARER,)).body().ask(entrance) == 403
    assert await Caller(headers=((b"authorization", b"Bearer  "),)).body().ask(entrance) == 401


# How much


async def test_a_body_that_is_declared_too_long_is_refused_unread() -> None:
    entrance, registry = door()
    caller = Caller(headers=((b"content-length", b"11"),)).body(b"x" * 11)
    assert await caller.ask(entrance) == 413
    assert caller.reads == 0
    assert "10 bytes" in caller.text
    assert value(registry, "tfpod_rejected_total", reason="too_large") == 1


@pytest.mark.parametrize(("length", "status"), [(8, 200), (11, 413)])
async def test_zeros_in_front_of_a_declared_length_are_no_matter_however_many(length: int, status: int) -> None:
    caller = Caller(headers=((b"content-length", b"0" * 5000 + b"%d" % length),)).body(b"x" * length)
    assert await caller.ask(door()[0]) == status


async def test_a_body_of_no_declared_length_is_read_no_further_than_it_may_be_long() -> None:
    entrance, _ = door()
    caller = Caller()
    for _ in range(5):
        caller.body(b"x" * 6, more=True)
    assert await caller.ask(entrance) == 413
    assert caller.reads == 2
    assert entrance.inflight == 0


async def test_a_body_arrives_whole_however_it_was_cut() -> None:
    caller = Caller().body(b"ab", more=True).body(b"", more=True).body(b"cd", more=True).body(b"e")
    await caller.ask(door()[0])
    assert caller.text == "abcde"


@pytest.mark.parametrize("declared", [True, False])
async def test_bodies_in_flight_have_so_much_room_together_and_no_more(declared: bool) -> None:
    held = Held()
    entrance, _ = door(held, replace(LIMITS, inflight_bytes=15))
    headers = ((b"content-length", b"8"),) if declared else ()
    inside = asyncio.create_task(Caller(headers=headers).body(b"x" * 8).ask(entrance))
    await held.begun.acquire()
    outside = Caller(headers=headers).body(b"x" * 8)
    assert await outside.ask(entrance) == 429
    assert bool(outside.reads) != declared, "a declared body is refused unread"
    held.go.set()
    assert await inside == 200
    assert await Caller(headers=headers).body(b"x" * 8).ask(entrance) == 200


# Packed, and binary


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"identity"])
async def test_a_packed_body_arrives_unpacked(coding: bytes) -> None:
    content = {b"gzip": gzip.compress(b"body"), b"deflate": zlib.compress(b"body")}.get(coding, b"body")
    caller = Caller(headers=((b"content-encoding", coding),)).body(content[:3], more=True).body(content[3:])
    assert await caller.ask(door(limits=replace(LIMITS, body_bytes=50))[0]) == 200
    assert caller.text == "body"


async def test_a_body_may_be_no_longer_unpacked_than_packed() -> None:
    entrance, registry = door(limits=replace(LIMITS, body_bytes=50))
    bomb = Caller(headers=((b"content-encoding", b"gzip"),)).body(gzip.compress(bytes(51)))
    assert await bomb.ask(entrance) == 413
    assert value(registry, "tfpod_rejected_total", reason="too_large") == 1
    broken = Caller(headers=((b"content-encoding", b"gzip"),)).body(gzip.compress(b"body")[:-1])
    assert await broken.ask(entrance) == 400
    assert entrance.inflight == 0


@pytest.mark.parametrize("lines", [(b"br",), (b"gzip, gzip",), (b"gzip", b"gzip")], ids=["br", "stacked", "twice"])
async def test_a_coding_that_is_not_spoken_is_refused_unread(lines: tuple[bytes, ...]) -> None:
    caller = Caller(headers=tuple((b"content-encoding", line) for line in lines)).body(b"body")
    assert await caller.ask(door()[0]) == 415
    assert caller.reads == 0


@pytest.mark.parametrize(
    ("path", "json", "size", "status"),
    [
        ("/tensors", b"5", 30, 200),
        ("/tensors", b"0", 30, 200),
        ("/tensors", b"10", 30, 200),
        ("/tensors", b"5", 31, 413),
        ("/tensors", b"11", 30, 413),
        ("/tensors", b"-1", 30, 413),
        ("/tensors", b"9" * 5000, 30, 413),
        ("/tensors", b"x", 30, 413),
        ("/infer", b"5", 30, 413),
    ],
)
async def test_binary_tensors_have_more_room_but_not_the_json_before_them(
    path: str, json: bytes, size: int, status: int
) -> None:
    headers = ((b"inference-header-content-length", json), (b"content-length", b"%d" % size))
    caller = Caller(path, headers).body(bytes(size))
    assert await caller.ask(door()[0]) == status
    assert bool(caller.reads) == (status == 200)


# How many at once


async def test_more_requests_than_may_be_in_flight_are_refused_with_advice() -> None:
    held = Held()
    entrance, registry = door(held)
    inside = [asyncio.create_task(Caller().body().ask(entrance)) for _ in range(2)]
    for _ in inside:
        await held.begun.acquire()
    assert value(registry, "tfpod_inflight_requests") == 2
    caller = Caller().body()
    assert await caller.ask(entrance) == 429
    assert caller.headers[b"retry-after"] == b"1"
    assert caller.reads == 0
    assert value(registry, "tfpod_requests_total", route="infer") == 3, "what is refused counts for scaling too"
    held.go.set()
    assert await asyncio.gather(*inside) == [200, 200]
    assert await Caller().body().ask(entrance) == 200


async def test_a_place_in_flight_is_kept_until_the_answer_is_sent() -> None:
    entrance, _ = door()
    reading = asyncio.Event()
    caller = Caller().body()

    async def send(_: Message) -> None:
        await reading.wait()

    sending = asyncio.create_task(entrance(caller.scope, caller.receive, send))
    await asyncio.sleep(0.01)
    assert entrance.inflight == 1
    reading.set()
    await sending
    assert entrance.inflight == 0


async def test_requests_that_ask_for_no_inference_need_no_place() -> None:
    entrance, registry = door(limits=replace(LIMITS, inflight=0))
    assert await Caller("/status").ask(entrance) == 200
    assert value(registry, "tfpod_responses_total", route="other", code="200") == 1
    assert value(registry, "tfpod_requests_per_second") == 0


# For how long


async def test_a_body_that_trickles_is_given_up_at_the_deadline() -> None:
    entrance, registry = door(limits=replace(LIMITS, seconds=0.05))
    caller = Caller().body(b"x", more=True)
    assert await caller.ask(entrance) == 408
    assert value(registry, "tfpod_rejected_total", reason="incomplete") == 1
    assert entrance.inflight == 0


async def test_work_that_is_not_done_by_the_deadline_is_stopped() -> None:
    held = Held()
    entrance, registry = door(held, replace(LIMITS, seconds=0.05))
    assert await Caller().body().ask(entrance) == 504
    assert (held.stopped, entrance.inflight) == (1, 0)
    assert value(registry, "tfpod_responses_total", route="infer", code="504") == 1


async def test_a_client_that_does_not_read_its_answer_is_given_up_at_the_deadline() -> None:
    entrance, _ = door(limits=replace(LIMITS, seconds=0.05))
    caller = Caller().body()

    async def send(message: Message) -> None:
        caller.sent.append(message)
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    await entrance(caller.scope, caller.receive, send)
    assert [message["type"] for message in caller.sent] == ["http.response.start", "http.response.body"]
    assert entrance.inflight == 0


@pytest.mark.parametrize(
    ("expected", "status"), [(b"50", 504), (b"20000", 200), (b"0", 200), (b"", 200), (b"soon", 200)]
)
async def test_the_deadline_is_no_later_than_the_proxys(expected: bytes, status: int) -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(0.2)
        await Response(b"late")(scope, receive, send)

    headers = ((b"x-envoy-expected-rq-timeout-ms", expected),)
    assert await Caller(headers=headers).body().ask(door(slow)[0]) == status


async def test_the_deadline_is_told_to_the_app() -> None:
    seen: list[MutableMapping[str, Any]] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["state"])
        await app(scope, receive, send)

    now = asyncio.get_running_loop().time()
    await Caller().body().ask(door(look)[0])
    assert now < seen[0]["deadline"] <= now + 31


# The caller who leaves


async def test_work_for_a_caller_who_left_is_stopped() -> None:
    held = Held()
    entrance, registry = door(held)
    asking = asyncio.create_task(Caller().body().ask(entrance))
    await held.begun.acquire()
    asking.cancel()  # as the server does
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (held.stopped, entrance.inflight) == (1, 0)
    assert value(registry, "tfpod_rejected_total", reason="client_gone") == 1
    assert value(registry, "tfpod_responses_total", route="infer", code="499") == 1


async def test_a_caller_who_leaves_in_the_middle_of_his_body_is_forgotten() -> None:
    entrance, registry = door()
    caller = Caller().body(b"x", more=True)
    caller.leave()
    with pytest.raises(asyncio.CancelledError):
        await caller.ask(entrance)
    assert entrance.inflight == 0
    assert value(registry, "tfpod_rejected_total", reason="client_gone") == 1


# What goes wrong inside


async def test_the_apps_refusals_are_answered() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        raise InvalidRequest("no such thing")

    caller = Caller().body()
    assert await caller.ask(door(refuse)[0]) == 400
    assert caller.text == '{"error":"no such thing"}'


async def test_what_the_app_refuses_before_it_asks_for_the_body_is_refused_unread() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        raise Overloaded("full")

    caller = Caller().body()
    assert await caller.ask(door(refuse)[0]) == 429
    assert caller.reads == 0


async def test_an_unexpected_error_is_logged_and_answered_without_its_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("secret")

    caller = Caller().body()
    entrance, _ = door(fail)
    assert await caller.ask(entrance) == 500
    assert "secret" not in caller.text
    assert "secret" in caplog.text
    assert entrance.inflight == 0


async def test_an_error_in_the_middle_of_an_answer_breaks_it_off() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise PodError("too late")

    caller = Caller().body()
    await caller.ask(door(fail)[0])
    assert len(caller.sent) == 1


async def test_a_request_leaves_no_task_behind() -> None:
    entrance, _ = door(limits=replace(LIMITS, inflight=100))
    before = asyncio.all_tasks()
    await asyncio.gather(*(Caller().body(b"x").ask(entrance) for _ in range(50)))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
