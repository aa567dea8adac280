"""nginx/: the real nginx in front of pods: in turn, and no request is lost when one of them is full, ends or dies."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.program import ROOT, get, program, until_ready
from tests.serving import GET, Client, serving

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="nginx is not installed"
    ),
]

DIGITS = f"--models=digits={ROOT / 'models/digits'}"
SAMPLE = (ROOT / "models/digits/sample.json").read_bytes()


@dataclass
class Pod:
    """An application that answers as told, and keeps what it was asked."""

    status: int = 200
    asked: list[Scope] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        self.asked.append(scope)
        headers = {"X-Request-ID": dict(scope["headers"])[b"x-request-id"].decode(), "Retry-After": "7"}
        await Response(str(size), self.status, headers)(scope, receive, send)


def post(body: bytes, path: str = "/", length: int | None = None, request_id: str = "") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: pod", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"X-Request-ID: {request_id}"] if request_id else []
    return "\r\n".join([*lines, "", ""]).encode() + body


async def listens(path: Path) -> bool:
    """Tell whether somebody takes connections there."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


@contextlib.asynccontextmanager
async def front(folder: Path, *pods: str) -> AsyncIterator[Callable[[], "asyncio.Future[Client]"]]:
    """Run nginx in front of the pods at these addresses; yield what connects to it."""
    path = folder / "socket"
    environment = {**os.environ, "NGINX_DIR": str(folder)}
    process = await asyncio.create_subprocess_exec(ROOT / "nginx/front", f"unix:{path}", *pods, env=environment)
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(Client(*await asyncio.open_unix_connection(path)))
        return clients[-1]

    try:
        async with asyncio.timeout(60):
            while not await listens(path):
                assert process.returncode is None
                await asyncio.sleep(0.02)
        yield lambda: asyncio.ensure_future(connect())
    finally:
        for client in clients:
            client.close()
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def behind(folder: Path, *pods: Pod) -> AsyncIterator[Callable[[], "asyncio.Future[Client]"]]:
    """Serve the pods, behind nginx."""
    async with contextlib.AsyncExitStack() as stack:
        ports = [(await stack.enter_async_context(serving(pod))).port for pod in pods]
        yield await stack.enter_async_context(front(folder, *(f"127.0.0.1:{port}" for port in ports)))


async def test_pods_are_asked_in_turn_over_connections_that_last(tmp_path: Path) -> None:
    pods = [Pod(), Pod(), Pod()]
    async with behind(tmp_path, *pods) as connect:
        client = await connect()
        for _ in range(30):
            assert (await client.ask(post(b"body")))[::2] == (200, b"4")
        assert [len({scope["client"] for scope in pod.asked}) for pod in pods] == [1, 1, 1]
        for _ in range(30):
            await (await connect()).ask(GET)
    assert [len(pod.asked) for pod in pods] == [20, 20, 20]


@pytest.mark.parametrize("status", [429, 503])
async def test_what_a_full_pod_refuses_goes_to_the_next(tmp_path: Path, status: int) -> None:
    full, free = Pod(status), Pod()
    async with behind(tmp_path, full, free) as connect:
        client = await connect()
        assert [(await client.ask(post(b"body")))[0] for _ in range(10)] == [200] * 10
        assert len(full.asked) == 5, "it still has its turn"
        free.status = status
        found, headers, _ = await client.ask(post(b"body"))
        assert (found, headers["retry-after"]) == (status, "7")
        full.status = 200
        assert (await client.ask(post(b"body")))[0] == 200, "none was left out"


async def test_what_a_pod_fails_at_is_not_tried_again(tmp_path: Path) -> None:
    pods = [Pod(500), Pod(200)]
    async with behind(tmp_path, *pods) as connect:
        client = await connect()
        assert Counter([(await client.ask(post(b"body")))[0] for _ in range(10)]) == {500: 5, 200: 5}


async def test_a_request_whose_pod_dies_under_it_is_answered_by_another(tmp_path: Path) -> None:
    died = 0

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal died
        await reader.readuntil(b"body")
        died += 1
        writer.transport.abort()

    async with await asyncio.start_server(die, "127.0.0.1", 0) as dying, serving(Pod()) as pod:
        ports = [dying.sockets[0].getsockname()[1], pod.port]
        async with front(tmp_path, *(f"127.0.0.1:{port}" for port in ports)) as connect:
            client = await connect()
            assert [(await client.ask(post(b"body")))[0] for _ in range(10)] == [200] * 10
    assert died == 5


async def test_a_request_has_one_id_on_the_whole_way(tmp_path: Path) -> None:
    pod = Pod()
    async with behind(tmp_path, pod) as connect:
        client = await connect()
        for given in ("a-b.c_1", "", "x y", "x" * 129):
            _, headers, _ = await client.ask(post(b"body", request_id=given))
            found = dict(pod.asked[-1]["headers"])[b"x-request-id"].decode()
            assert headers["x-request-id"] == found
            assert (found == given) == (given == "a-b.c_1")


async def test_a_long_body_arrives_and_one_too_long_is_refused_unread(tmp_path: Path) -> None:
    async with behind(tmp_path, Pod()) as connect:
        assert (await (await connect()).ask(post(b"x" * (5 << 20))))[2] == b"%d" % (5 << 20)
        status, _, body = await (await connect()).ask(post(b"", length=(64 << 20) + 1))
        assert (status, json.loads(body)) == (413, {"error": "the body is too long"})


async def test_without_a_pod_there_is_an_answer_all_the_same(tmp_path: Path) -> None:
    async with front(tmp_path, "127.0.0.1:1", "127.0.0.1:2") as connect:
        status, headers, body = await (await connect()).ask(GET)
        assert (status, json.loads(body)) == (502, {"error": "no pod answers"})
        assert headers["content-type"] == "application/json"
        assert headers["x-request-id"]


@pytest.mark.timeout(300)
async def test_pods_that_end_or_are_killed_under_load_cost_no_request(tmp_path: Path) -> None:
    statuses: Counter[int] = Counter()
    tasks: list[asyncio.Task[None]] = []

    async def load(client: Client) -> None:
        while True:
            statuses[(await client.ask(post(SAMPLE, "/v1/models/digits:predict")))[0]] += 1

    async def more() -> None:
        wanted = statuses.total() + 100
        while statuses.total() < wanted:
            assert not any(task.done() for task in tasks), "nginx keeps the connections of its clients"
            await asyncio.sleep(0.01)

    with program("--drain-delay=0.5", DIGITS) as first, program(DIGITS) as second, program(DIGITS) as third:
        urls = [pod.urls() for pod in (first, second, third)]
        for _, admin in urls:
            await asyncio.to_thread(until_ready, admin)
        async with front(tmp_path, *(api.removeprefix("http://") for api, _ in urls)) as connect:
            tasks.extend([asyncio.create_task(load(await connect())) for _ in range(8)])
            await more()
            assert await asyncio.to_thread(first.end, signal.SIGTERM) == 0
            await more()
            assert await asyncio.to_thread(second.end, signal.SIGKILL) == -signal.SIGKILL
            await more()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    assert list(statuses) == [200]


def free_port() -> int:
    """Return a port P such that it and those that nginx/local makes of it are free now."""
    for port in range(21000, 30000, 7):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for each in (port, port + 1, port + 1001):
                stack.enter_context(socket.create_server(("127.0.0.1", each)))
            return port
    raise AssertionError("no port is free")


@pytest.mark.timeout(300)
def test_one_command_starts_pods_and_nginx_and_ends_them(tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "NGINX_DIR": str(tmp_path), "PYTHON": sys.executable, "TFPOD_DRAIN_DELAY": "0"}
    environment["TFPOD_MODELS"] = DIGITS.removeprefix("--models=")
    command = [str(ROOT / "nginx/local"), "1", str(port)]
    with subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        try:
            while not (tmp_path / "nginx.pid").exists():
                assert process.poll() is None
                time.sleep(0.05)
            while get(f"http://127.0.0.1:{port}/v2/health/ready")[0] != 200:
                assert process.poll() is None
                time.sleep(0.05)
            assert get(f"http://127.0.0.1:{port}/v1/models/digits:predict", SAMPLE)[0] == 200
            process.terminate()
            process.wait(60)
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, 0)
            assert process.returncode == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_the_pods_do_not_outlive_an_nginx_that_cannot_start(tmp_path: Path) -> None:
    pod = tmp_path / "pod"
    pod.write_text("#!/bin/sh\nexec sleep 1000\n")
    pod.chmod(0o755)
    environment = {**os.environ, "NGINX_DIR": str(tmp_path), "PYTHON": str(pod)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [str(ROOT / "nginx/local"), "1", str(taken.getsockname()[1])]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        # which returns when nobody holds its standard error any more
    assert ended.returncode != 0
    assert "Address already in use" in ended.stderr
