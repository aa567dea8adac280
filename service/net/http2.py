"""One client's connection in HTTP/2, over which gRPC is spoken: streams side by side, each a call.

The h2 package keeps the protocol; here is what a server owes besides: calls are cancelled when their client is gone, a
client that keeps the pod busy with anything but calls is sent away, and a connection ends without the loss of a call.
"""

import asyncio
import contextlib
import random
from typing import Any, ClassVar, Final, cast

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from uvicorn import Config

from service.net.alarm import Alarm
from service.net.connections import Connections
from service.net.frames import CALLS, GOAWAY, begun
from service.net.grpc import Call, Lines
from service.net.outflow import Outflow
from service.net.talk import Talk

#: Seconds after which a client is asked to connect anew: so that pods which were added have their share.
_AGE: Final = 60.0
#: Bytes that are looked at before they are counted: they may be hundreds of frames.
_PIECE: Final = 8 << 10
_FRAME_HEAD: Final = 9
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
        self._h2 = begun()
        self._calls: dict[int, Call] = {}
        self._talk = Talk()
        #: The client has read what it may do; was told to connect anew; will call no more; is not listened to any more.
        self._greeted = self._leaving = self._left = self._deaf = False
        #: By when the client has to have said what it has to say next, and to have read what was sent to it.
        self._waiting = Alarm(self.loop, self._abort)
        self._writing = Alarm(self.loop, self._abort)
        self._age = Alarm(self.loop, self.drain)

    @property
    def idle(self) -> bool:
        """True while there is no call."""
        return not self._calls

    @property
    def fresh(self) -> bool:
        """True before the first call."""
        return not self._h2.highest_inbound_stream_id

    def drain(self) -> None:
        """Have the client connect anew for what it calls next: no call is lost, for it answers a ping first."""
        if self._greeted and not (self._leaving or self._deaf or self.transport.is_closing()):
            self._leaving = True
            self._out.flush()
            self.transport.write(GOAWAY)
            self._h2.ping(_PING)
            self._out.flush()
            self._waiting.set(self._connections.patience.header)

    def close_if_idle(self) -> None:
        """Close after the last call; the first may be on its way, until the client has read what it may do."""
        self.drain()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what a client may do, and wait for what it says."""
        self.transport = cast("asyncio.Transport", transport)
        self._out = Outflow(self._h2, self.transport, self._connections.patience.header, self._talk)
        self._out.flush()
        self._waiting.set(self._connections.patience.header)
        self._age.set(_AGE * random.uniform(0.9, 1.1))  # noqa: S311 - so that not all come at once
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        """Forget the connection, and cancel what it asked for."""
        self._cancel()
        self._waiting.close()
        self._writing.close()
        self._age.close()
        self._connections.remove(self)

    def data_received(self, data: bytes) -> None:
        """Take frames, unless nobody listens any more."""
        view = memoryview(data)
        while view and not self._deaf:
            try:
                self._take(view[:_PIECE])
            except ProtocolError:  # the package has put together what the client is told of it
                self._end()
            view = view[_PIECE:]
        if not self._deaf:
            self._out.flush()
            self._out.wake()

    def eof_received(self) -> None:
        """Close, once what was written is read: a client that says no more will mostly be gone."""
        self._writing.set(self._connections.patience.header)

    def pause_writing(self) -> None:
        """Wait for the client to read, and do not answer its pings meanwhile."""
        self._out.paused = True
        self.transport.pause_reading()
        self._writing.set(self._connections.patience.header)

    def resume_writing(self) -> None:
        """Go on."""
        self._out.paused = False
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._writing.unset()
            self._out.wake()

    def consumed(self, number: int, size: int) -> None:
        """Let the client send so many bytes more, on all streams together if not on this one."""
        if not self._deaf:
            self._h2.acknowledge_received_data(size, number)
            self._out.flush()

    async def answer(self, number: int, head: Lines, body: bytes, trailers: Lines) -> None:
        """Send an answer; without trailers the head is all. Raises CancelledError if the client does not take it."""
        if not (call := self._calls.get(number)):
            return
        self._h2.send_headers(number, head, end_stream=not trailers)
        if trailers:
            await self._out.send(number, body)
            self._h2.send_headers(number, trailers, end_stream=True)
        call.answered = True
        self._talk.answered()
        self._out.flush()

    def reset(self, number: int) -> None:
        """End a stream, if it has not ended by itself: the client may still be sending, or miss the answer's end."""
        if call := self._calls.pop(number, None):
            if not (call.whole and call.answered):
                if not call.whole:
                    self._talk.allow(self._h2.remote_flow_control_window(number))  # it may be on its way
                self._h2.reset_stream(number, ErrorCodes.NO_ERROR if call.answered else ErrorCodes.INTERNAL_ERROR)
                self._out.flush()
            self._ended()

    def _take(self, data: memoryview) -> None:
        """Take a piece of what the client says. Raises ProtocolError."""
        self._talk.heard(len(data))
        for event in self._h2.receive_data(data):
            if (take := self._takes.get(type(event))) and not self._deaf:
                take(self, event)
        if not self._deaf and self._talk.too_much:
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._end()

    def _begin(self, event: events.RequestReceived) -> None:
        """Have the application answer a call, unless there are too many on this connection, or on all."""
        number, too_many = event.stream_id, len(self._calls) >= CALLS
        self._talk.taken_back += too_many
        if too_many or self._left or self._connections.full(len(self._calls)):
            with contextlib.suppress(ProtocolError):  # the client has reset it
                self._talk.allow(self._h2.remote_flow_control_window(number))  # it may be on its way
                self._h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        self._connections.calls += 1
        self._calls[number] = call = Call(self, number, event.headers)
        self._talk.allow(call.size)
        call.task = self.loop.create_task(call.run(self._app))
        if self._connections.draining:  # now, not with the answer: many a client's next call would cross it
            self.drain()

    def _data(self, event: events.DataReceived) -> None:
        if call := self._calls.get(event.stream_id):
            self._talk.allow(_FRAME_HEAD + len(event.data) if event.data else 0)
            call.take(event.data, event.flow_controlled_length)
        else:
            self.consumed(event.stream_id, event.flow_controlled_length)

    def _whole(self, event: events.StreamEnded) -> None:
        if call := self._calls.get(event.stream_id):
            call.end()

    def _take_back(self, event: events.StreamReset) -> None:
        """Cancel a call that the client does not want answered any more."""
        self._talk.taken_back += 1
        if call := self._calls.pop(event.stream_id, None):
            call.lose()
            self._ended()

    def _greet(self, _: events.SettingsAcknowledged) -> None:
        if not self._greeted:
            self._greeted = True
            self._waiting.unset()
            if self._connections.closing:
                self.drain()

    def _leave(self, event: events.PingAckReceived) -> None:
        if self._leaving and event.ping_data == _PING:
            self._waiting.unset()
            self._call_no_more()

    def _call_no_more(self, _: object = None) -> None:
        """Close after the last call that is under way."""
        self._left = True
        if not self._calls:
            self._end()

    def _ended(self) -> None:
        """Go on after a call has ended."""
        self._connections.calls -= 1
        if not self._calls:
            self.idle_since = self.loop.time()
        if self._left:
            self._call_no_more()

    def _end(self) -> None:
        """Say no more, and listen until the client closes: what is left unread would take the last answers from it."""
        if not (self._deaf or self.transport.is_closing()):
            self._out.flush()
            self._cancel()
            self._waiting.set(self._connections.patience.header)
            with contextlib.suppress(OSError):  # the client has closed already
                self.transport.write_eof()

    def _cancel(self) -> None:
        """Cancel all calls, and take no more."""
        self._deaf = True
        self._connections.calls -= len(self._calls)
        while self._calls:
            self._calls.popitem()[1].lose()

    def _abort(self) -> None:
        self.transport.abort()

    _takes: ClassVar[dict[type[events.Event], Any]] = {
        events.RequestReceived: _begin,
        events.DataReceived: _data,
        events.StreamEnded: _whole,
        events.StreamReset: _take_back,
        events.SettingsAcknowledged: _greet,
        events.PingAckReceived: _leave,
        events.ConnectionTerminated: _call_no_more,
    }
