"""Speaks HTTP/2 to a server, call by call or frame by frame."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection, H2ConnectionStateMachine
from h2.settings import SettingCodes, Settings
from starlette.types import ASGIApp

from service.net.connections import Patience
from service.net.drain import Drain
from service.net.http2 import Http2
from tests.serving import PATIENT, Client, Serving, serving

HEAD = {
    b":method": b"POST",
    b":scheme": b"http",
    b":path": b"/a.B/C",
    b":authority": b"pod",
    b"content-type": b"application/grpc",
    b"te": b"trailers",
}


def message(data: bytes, *, packed: bool = False) -> bytes:
    """Return a message as it is sent."""
    return bytes([packed]) + len(data).to_bytes(4, "big") + data


@dataclass
class Answered:
    """What has come on a stream."""

    head: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        """The call's status."""
        return int(self.head[b"grpc-status"])

    @property
    def text(self) -> str:
        """The status' text, as it was sent."""
        return self.head[b"grpc-message"].decode()


class Caller:
    """One connection; `window` is what it lets each answer have before it reads any of it."""

    def __init__(self, client: Client, window: int = 65535, *, reads: bool = True) -> None:
        self.client, self._reads = client, reads
        config = H2Configuration(client_side=True, header_encoding=None)
        config.validate_outbound_headers = config.normalize_outbound_headers = False
        self.h2 = H2Connection(config)
        self.h2.state_machine = _Lasting()
        self.h2.local_settings = Settings(client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.h2.initiate_connection()
        self.streams: dict[int, Answered] = {}
        #: What has come that is of no stream.
        self.events: list[events.Event] = []
        self.ended = False
        self.next = 1

    async def flush(self, more: bytes = b"") -> None:
        """Send what there is to send, and bytes as they are."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self.client.send(self.h2.data_to_send() + more)

    async def begin(self, body: bytes = b"", *, end: bool = True, **headers: bytes) -> int:
        """Begin a call with what of its message fits in one frame, and return its stream."""
        number, self.next = self.next, self.next + 2
        lines = HEAD | {name.replace("_", "-").encode(): value for name, value in headers.items()}
        self.streams[number] = Answered()
        self.h2.send_headers(number, list(lines.items()), end_stream=end and not body)
        if body:
            self.h2.send_data(number, body, end_stream=end)
        await self.flush()
        return number

    async def send(self, number: int, body: bytes, *, end: bool = True) -> None:
        """Send of a message whatever the server lets through."""
        rest = memoryview(body)
        while rest:
            size = min(self.h2.local_flow_control_window(number), 16384, len(rest))
            if size:
                self.h2.send_data(number, rest[:size])
                rest = rest[size:]
                await self.flush()
            else:
                await self.read()
        if end:
            self.h2.end_stream(number)
        await self.flush()

    async def call(self, body: bytes = message(b""), **headers: bytes) -> Answered:
        """Call, and wait for the answer."""
        number = await self.begin(end=False, **headers)
        await self.send(number, body)
        return await self.answer(number)

    async def answer(self, number: int) -> Answered:
        """Wait for the end of an answer."""
        answered = self.streams[number]
        await self.until(lambda: answered.ended or answered.reset is not None)
        return answered

    async def until(self, condition: Callable[[], object]) -> None:
        """Read until something is so, or the connection has ended."""
        while not (condition() or self.ended):
            await self.read()

    async def said(self, kind: type[events.Event]) -> Any:
        """Wait for an event of the connection; None if the connection ends without one."""
        await self.until(lambda: any(isinstance(event, kind) for event in self.events))
        return next((event for event in self.events if isinstance(event, kind)), None)

    async def greet(self) -> None:
        """Wait until the server has said what may be done, and tell it that this was read."""
        await self.flush()
        await self.said(events.RemoteSettingsChanged)

    async def end(self) -> None:
        """Read to the end of the connection, and close it."""
        await self.until(lambda: False)
        self.client.close()

    async def read(self) -> None:
        """Read a piece of what comes."""
        data = b""
        with contextlib.suppress(ConnectionError):
            data = await self.client.reader.read(1 << 16)
        self.ended = not data
        for event in self.h2.receive_data(data):
            self._take(event)
        await self.flush()

    def _take(self, event: Any) -> None:
        answered = self.streams.setdefault(getattr(event, "stream_id", None) or 0, Answered())
        if isinstance(event, events.ResponseReceived | events.TrailersReceived):
            answered.head |= dict(event.headers)
        elif isinstance(event, events.DataReceived):
            answered.body += event.data
            if self._reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, events.StreamEnded):
            answered.ended = True
        elif isinstance(event, events.StreamReset):
            answered.reset = event.error_code
        else:
            self.events.append(event)


@contextlib.asynccontextmanager
async def calling(app: ASGIApp, patience: Patience = PATIENT, drain: Drain | None = None) -> AsyncIterator[Serving]:
    """Serve `app` by gRPC on a free port of the loopback interface."""
    async with serving(app, patience, drain, Http2) as pod:
        yield pod


async def connect(pod: Serving, window: int = 65535, *, reads: bool = True) -> Caller:
    """Open a connection that has read what the server lets it do."""
    caller = Caller(await pod.connect(), window, reads=reads)
    await caller.greet()
    return caller


async def gone(pod: Serving) -> None:
    """Wait until the server has no connection."""
    while pod.server.server_state.connections:
        await asyncio.sleep(0.001)


class _Lasting(H2ConnectionStateMachine):
    """Goes on after the server has said that it wants no more calls: those under way are answered."""

    def process_input(self, input_: ConnectionInputs) -> list[events.Event]:
        return [] if input_ is ConnectionInputs.RECV_GOAWAY else super().process_input(input_)
