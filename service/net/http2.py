"""One client's connection in HTTP/2, over which gRPC is spoken: streams side by side, each a call.

The h2 package keeps the protocol; here is what a server owes besides: calls are cancelled when their client is gone, a
client that does not read is not written to without end, and a connection ends without the loss of a call.
"""

import asyncio
import contextlib
from typing import Final, cast

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame
from uvicorn import Config

from service.net.alarm import Alarm
from service.net.connections import Connections
from service.net.grpc import Call, Lines
from service.net.server import unread

#: Calls under way on one connection; and bytes that a client may send ahead of what is asked for, of one and of all.
_CALLS: Final = 1000
_WINDOW: Final = 1 << 20
_ALL_WINDOWS: Final = 16 << 20
_SETTINGS: Final = {
    SettingCodes.MAX_CONCURRENT_STREAMS: _CALLS,
    SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
    SettingCodes.MAX_HEADER_LIST_SIZE: 16 << 10,
}
#: Seconds after which a client is asked to connect anew: so that pods which were added have their share.
_AGE: Final = 60.0
#: So many calls a client may take back before they are answered, besides as many as were answered.
_TAKEN_BACK: Final = 200
_LAST: Final = (1 << 31) - 1
_PING: Final = b"draining"


class Http2(asyncio.Protocol):
    """One connection; its times are the event loop's."""

    transport: asyncio.Transport

    def __init__(self, config: Config, server_state: Connections, **_: object) -> None:
        """Take what uvicorn gives a protocol; see connection.py."""
        self.loop = asyncio.get_running_loop()
        self.idle_since = self.loop.time()
        self.in_head = False
        self._connections, self._app = server_state, config.loaded_app
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._calls: dict[int, Call] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._answered = self._taken_back = 0
        #: Done whenever more may be written.
        self._writable = self.loop.create_future()
        self._paused = False
        #: The client has read what it may do; was told to connect anew; has read that.
        self._greeted = self._leaving = self._left = False
        #: By when the client has to have said what it has to say next, and to have read what was sent to it.
        self._waiting = Alarm(self.loop, self._abort)
        self._writing = Alarm(self.loop, self._abort)
        self._age = Alarm(self.loop, self.drain)

    @property
    def idle(self) -> bool:
        """True while there is no call."""
        return not self._tasks

    @property
    def fresh(self) -> bool:
        """True before the first call."""
        return not (self._answered or self._tasks)

    def drain(self) -> None:
        """Have the client connect anew for what it calls next: no call is lost, for it answers a ping first."""
        if self._greeted and not (self._leaving or self.transport.is_closing()):
            self._leaving = True
            self._flush()
            # Not by the package, which then would take no frame any more.
            self.transport.write(GoAwayFrame(0, last_stream_id=_LAST).serialize())
            self._h2.ping(_PING)
            self._flush()
            self._waiting.set(self._connections.patience.header)

    def close_if_idle(self) -> None:
        """Close, unless a call is under way: in the works, or in the socket."""
        self.drain()
        if not (self._greeted or unread(self.transport)):
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what a client may do, and wait for what it says."""
        self.transport = cast("asyncio.Transport", transport)
        self._h2.local_settings = Settings(client=False, initial_values=_SETTINGS)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_ALL_WINDOWS)
        self._flush()
        self._waiting.set(self._connections.patience.header)
        self._age.set(_AGE)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        """Forget the connection, and cancel what it asked for."""
        for call in self._calls.values():
            call.lose()
        for task in self._tasks.values():
            task.cancel()
        self._wake()
        self._waiting.close()
        self._writing.close()
        self._age.close()
        self._connections.remove(self)

    def data_received(self, data: bytes) -> None:
        """Take frames."""
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
        except ProtocolError:  # the package has put together what the client is told of it
            self._flush()
            self.transport.close()
        else:
            self._flush()

    def pause_writing(self) -> None:
        """Wait for the client to read, and do not answer its pings meanwhile."""
        self._paused = True
        self.transport.pause_reading()
        self._writing.set(self._connections.patience.header)

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        self.transport.resume_reading()
        self._writing.unset()
        self._wake()

    def consumed(self, number: int, size: int) -> None:
        """Let the client send so many bytes more."""
        if number in self._calls:
            self._h2.acknowledge_received_data(size, number)
            self._flush()

    async def answer(self, number: int, head: Lines, body: bytes, trailers: Lines) -> None:
        """Send an answer; without trailers the head is all. Raises TimeoutError if the client does not take it."""
        if number not in self._calls:
            return
        self._h2.send_headers(number, head, end_stream=not trailers)
        rest = memoryview(body)
        while rest:
            size = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size, len(rest))
            if size > 0 and not self._paused:
                self._h2.send_data(number, rest[:size])
                rest = rest[size:]
                continue
            self._flush()
            async with asyncio.timeout(self._connections.patience.header):
                await asyncio.shield(self._writable)
            if number not in self._calls:
                return
        if trailers:
            self._h2.send_headers(number, trailers, end_stream=True)
        self._calls[number].answered = True
        self._answered += 1
        self._flush()

    def reset(self, number: int) -> None:
        """End a stream, if it has not ended by itself: the client may still be sending, or miss the answer's end."""
        self._tasks.pop(number, None)
        call = self._calls.pop(number, None)
        if call and not (call.whole and call.answered):
            with contextlib.suppress(ProtocolError):
                self._h2.reset_stream(number, ErrorCodes.NO_ERROR if call.answered else ErrorCodes.INTERNAL_ERROR)
            self._flush()
        if self._connections.draining:
            self.drain()
        self._close_if_left()

    def _take(self, event: events.Event) -> None:
        if isinstance(event, events.RequestReceived):
            self._begin(event.stream_id, event.headers)
        elif isinstance(event, events.DataReceived) and event.stream_id in self._calls:
            self._calls[event.stream_id].take(event.data, event.flow_controlled_length)
        elif isinstance(event, events.StreamEnded) and event.stream_id in self._calls:
            self._calls[event.stream_id].end()
        elif isinstance(event, events.StreamReset):
            self._take_back(event.stream_id)
        elif isinstance(event, events.WindowUpdated | events.RemoteSettingsChanged):
            self._wake()
        elif isinstance(event, events.SettingsAcknowledged):
            self._waiting.unset()
            self._greeted = True
        elif isinstance(event, events.PingAckReceived) and event.ping_data == _PING:
            self._waiting.unset()
            self._left = True
            self._close_if_left()
        elif isinstance(event, events.ConnectionTerminated):
            self.transport.close()

    def _begin(self, number: int, headers: Lines) -> None:
        """Have the application answer a call."""
        self._calls[number] = call = Call(self, number, headers)
        self._tasks[number] = self.loop.create_task(call.run(self._app))

    def _take_back(self, number: int) -> None:
        """Cancel a call that the client does not want answered any more; too many of that are an attack."""
        self._taken_back += 1
        if call := self._calls.pop(number, None):
            call.lose()
            self._tasks[number].cancel()
        if self._taken_back > _TAKEN_BACK + self._answered:
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._flush()
            self.transport.close()

    def _close_if_left(self) -> None:
        if self._left and not self._tasks:
            self.transport.close()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def _wake(self) -> None:
        """Have those go on that wait to write."""
        before, self._writable = self._writable, self.loop.create_future()
        before.set_result(None)

    def _abort(self) -> None:
        self.transport.abort()
