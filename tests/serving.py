"""Runs a server in the test's own loop, and speaks to it byte by byte."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from service.app import Pod
from service.net.connection import Connection
from service.net.connections import Patience
from service.net.drain import Drain, DrainingServer
from service.net.server import listen

PATIENT = Patience(header=20.0, keep_alive=60.0, connections=100)
POST = b"POST / HTTP/1.1\r\nHost: pod\r\nContent-Length: 4\r\n\r\nbody"
GET = b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n"


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: status, headers by lower-case name, body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), headers, await self.reader.readexactly(int(headers["content-length"]))

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send a request and read its answer."""
        await self.send(data)
        return await self.answer()

    async def ended(self) -> bytes:
        """Return what comes until the other side closes; a reset raises ConnectionResetError."""
        return await self.reader.read()

    def close(self) -> None:
        """Close this side."""
        self.writer.close()


@dataclass
class Serving:
    """A server that runs, and the clients that were connected to it."""

    server: DrainingServer
    port: int
    task: "asyncio.Task[None]"
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        """Open a connection, which is closed when the test ends."""
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.clients[-1]


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp,
    patience: Patience = PATIENT,
    drain: Drain | None = None,
    protocol: Callable[..., asyncio.Protocol] = Connection,
) -> AsyncIterator[Serving]:
    """Serve `app` on a free port of the loopback interface."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = DrainingServer(app, listener, patience, drain or Drain(delay=0.0, timeout=5.0), protocol)
    pod = Serving(server, port, asyncio.create_task(server.run_until_stopped()))
    try:
        yield pod
    finally:
        for client in pod.clients:
            client.close()
        server.stop()
        server.server_state.abort()
        await pod.task


@contextlib.asynccontextmanager
async def both(pod: Pod) -> AsyncIterator[tuple[Serving, httpx.AsyncClient, httpx.AsyncClient]]:
    """Serve both applications of a pod; yield the API's server, and a client of the API and one of the other."""
    patience = Patience(header=5.0, keep_alive=60.0, connections=1000)
    async with (
        serving(pod.api, patience) as api,
        serving(pod.admin, patience) as admin,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}", timeout=20) as client,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{admin.port}", timeout=20) as probe,
    ):
        yield api, client, probe


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the length of the body; `GET` does not look at one."""
    if scope["type"] != "http":
        return
    size, more = 0, scope["method"] == "POST"
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
