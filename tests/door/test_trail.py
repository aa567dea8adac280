"""service/door/trail.py: every answer and every log line of a request has its id, and whoever asks gets the times."""

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs, stages
from service.app import Pod
from service.door.tokens import Tokens
from service.door.trail import Trail
from service.settings import Settings
from tests.clock import Clock
from tests.serving import GET, serving
from tests.test_routes import Doubler

pytestmark = pytest.mark.anyio

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01".encode()


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """Collect the log lines of the pod as they would be written."""
    found: list[dict[str, Any]] = []
    formatter = logs.JsonFormatter()

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(formatter.format(record)))

    logger, handler = logging.getLogger("tfpod"), Collect()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(level)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Log, note two stages, answer."""
    logging.getLogger("tfpod.test").info("inside", extra={"path": scope["path"]})
    await asyncio.sleep(0)
    for begun, ended in ((0.0, 0.25), (1.0, 1.5)):
        stages.note("model", begun, ended)
    await Response(b"answer", headers={"X-Other": "1"})(scope, receive, send)


async def ask(trail: ASGIApp, headers: dict[bytes, bytes] | None = None, path: str = "/") -> dict[str, str]:
    """Return the answer's headers; in a task of its own, as the server has it."""
    sent: list[Message] = []
    scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": [*(headers or {}).items()]}

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    await asyncio.create_task(trail(scope, receive, send))  # type: ignore[arg-type]
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]} if sent else {}


@pytest.mark.parametrize("given", ["a", "1f3a-77.b_C", "x" * 128])
async def test_an_id_that_is_one_is_kept(given: str) -> None:
    answer = await ask(Trail(app), {b"x-request-id": given.encode()})
    assert answer["x-request-id"] == given
    assert answer["x-other"] == "1"


@pytest.mark.parametrize("given", [b"", b"x" * 129, b"a b", b"a,b", b"a\nb", b"a\r\nSet-Cookie: b", b"\xc3\xa4", b'"'])
async def test_an_id_that_is_none_is_replaced(given: bytes) -> None:
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", (await ask(Trail(app), {b"x-request-id": given}))["x-request-id"])


async def test_no_two_requests_are_given_the_same_id() -> None:
    pods = [Trail(app), Trail(app)]
    assert len({(await ask(pods[number % 2]))["x-request-id"] for number in range(100)}) == 100


async def test_refusals_have_an_id_too(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("secret")
    settings = Settings(models=f"m={tmp_path}", tokens_file=str(tmp_path / "tokens"))
    async with serving(Pod(settings, "0", lambda _: None, lambda _: Doubler()).api) as pod:
        client = await pod.connect()
        for path, status in (("/v2", 401), ("/v2/health/ready", 503), ("/v2/health/live", 200)):
            found, headers, _ = await client.ask(GET.replace(b" / ", f" {path} ".encode()))
            assert found == status
            assert headers["x-request-id"]


async def test_a_requests_log_lines_tell_which_it_is(lines: list[dict[str, Any]]) -> None:
    trail = Trail(app)
    traced = {b"x-request-id": b"two", b"traceparent": PARENT}
    await asyncio.gather(ask(trail, {b"x-request-id": b"one"}, "/1"), ask(trail, traced, "/2"))
    assert [(line["path"], line["request_id"], line.get("trace_id")) for line in lines] == [
        ("/1", "one", None),
        ("/2", "two", TRACE),
    ]


async def test_what_is_about_no_request_is_not_logged_as_if_it_were(
    lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    clock, path = Clock(), tmp_path / "tokens"
    path.write_text("old")
    tokens = Tokens(str(path), clock)
    path.write_text("new")
    clock.now += 2
    logs.about.set({"request_id": "one"})
    tokens.authorize(b"Bearer new")
    assert [(line["message"], "request_id" in line) for line in lines] == [("tokens changed", False)]


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"x",
        PARENT[:-1],
        PARENT.upper(),
        b"ff" + PARENT[2:],
        b"00-" + b"0" * 32 + PARENT[35:],
        PARENT[:36] + b"0" * 16 + b"-01",
    ],
)
async def test_a_trace_that_is_none_is_not_logged(lines: list[dict[str, Any]], given: bytes) -> None:
    await ask(Trail(app), {b"traceparent": given})
    assert "trace_id" not in lines[0]


async def test_the_access_log_tells_what_was_asked_and_what_it_took(lines: list[dict[str, Any]]) -> None:
    await ask(Trail(app, access_log=True), {b"x-request-id": b"one"}, "/v1")
    line = lines[1]
    assert line.pop("milliseconds") > 0
    assert line.items() >= {"message": "request", "method": "POST", "path": "/v1", "request_id": "one"}.items()
    assert line.items() >= {"status": 200, "bytes": 6, "stages": {"model": 750.0}}.items()


async def test_without_an_access_log_nothing_is_logged_and_no_stage_kept(lines: list[dict[str, Any]]) -> None:
    await ask(Trail(app))
    assert [line["message"] for line in lines] == ["inside"]


async def test_a_request_that_got_no_answer_is_logged_as_such(lines: list[dict[str, Any]]) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await ask(Trail(fail, access_log=True))
    assert lines[0]["status"] == 499


def post(body: bytes) -> bytes:
    return b"POST /v1/models/m:predict HTTP/1.1\r\nHost: pod\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def test_the_stages_of_an_inference_are_those_of_the_walk(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    ready = asyncio.Event()
    settings = Settings(models=f"m={tmp_path}", access_log=True)
    async with serving(Pod(settings, "0", lambda _: ready.set(), lambda _: Doubler()).api) as pod:
        await ready.wait()
        body = b'{"instances": [[1, 2, 3]]}'
        status, _, _ = await (await pod.connect()).ask(post(body))
        assert status == 200
        while not (asked := [line for line in lines if line["message"] == "request"]):
            await asyncio.sleep(0.01)
        status, headers, _ = await (await pod.connect()).ask(post(body.replace(b"3]", b"13]")))
        assert status == 500
    (failed,) = (line for line in lines if line["message"] == "a request failed with the model")
    assert failed["request_id"] == headers["x-request-id"]
    assert asked[0]["route"] == "tfserving_predict"
    assert list(asked[0]["stages"]) == ["decode", "queue", "model", "encode"]
    assert sum(asked[0]["stages"].values()) <= asked[0]["milliseconds"]


async def test_what_is_no_request_is_passed_on() -> None:
    seen: list[str] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    await Trail(look)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]
