"""One client's connection: uvicorn's HTTP protocol, with an end to everything that a client can leave unfinished.

uvicorn bounds neither a head's size nor the time it takes, waits for ever for a client that does not read, keeps the
timer of a connection that was reset, lets requests run on whose client is gone, and closes without having read what was
sent (a reset, to the client).
"""

import asyncio
from collections import deque
from typing import Any, Final, cast

import httptools
import orjson
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.net.alarm import Alarm
from service.net.connections import Connections
from service.net.heads import Forget, without_upgrade
from service.net.outlet import Outlet
from service.net.server import unread

#: Bytes that the head of a request may have.
_HEAD_BYTES: Final = 64 << 10
_TOO_LONG: Final = (431, f"the request's head is longer than {_HEAD_BYTES} bytes")
#: Requests that may wait for the answer to one before them.
_PIPELINED: Final = 16
#: Seconds for which the rest of a body is read and thrown away after its request was answered.
_LINGER_SECONDS: Final = 5.0


class Connection(HttpToolsProtocol):
    """One connection; it lives on the event loop, whose clock its times are."""

    server_state: Connections

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.idle_since = self.loop.time()
        self.in_head = False
        self._deaf = False  # what still comes is not looked at: the connection ends when all that was asked is answered
        self._overhead = 0  # bytes since anything was got out of them: a head or a trailer that goes on and on
        self._fault = (400, "invalid HTTP request")
        self._active: RequestResponseCycle | None = None
        self._task: asyncio.Task[None] | None = None
        #: By when the client has to have sent what it has to send next, and to have read what was sent to it.
        self._reading = Alarm(self.loop, self._too_slow)
        self._writing = Alarm(self.loop, self._abort)

    @property
    def idle(self) -> bool:
        """True between an answer and the next request's first byte."""
        complete = self.cycle is not None and self.cycle.response_complete
        return complete and not (self.in_head or self._deaf or self.pipeline)

    @property
    def fresh(self) -> bool:
        """True until the first byte."""
        return self.cycle is None and not (self.in_head or self._deaf)

    def drain(self) -> None:
        """Close with the answer under way, if that can still be said, or with the next one."""
        if self.cycle and not self.cycle.response_started and not self.pipeline:
            self.cycle.keep_alive = False

    def close_if_idle(self) -> None:
        """Close, unless a request is under way: in the works, in the socket, or the first, not sent yet."""
        if self.idle and not unread(self.transport):
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first byte."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._reading.set(self.server_state.patience.header)
        self.server_state.make_room(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, all its timers and whatever it asked for, however it ended."""
        super().connection_lost(exc)
        if self._task and self._active and not self._active.response_complete:
            self._task.cancel()
        self._reading.close()
        self._writing.close()
        self.server_state.ended()

    def data_received(self, data: bytes) -> None:
        """Parse; bound what is neither a body nor the end of a head."""
        if self._deaf:
            return
        self._overhead += len(data)
        self._feed(data)
        if self._overhead > _HEAD_BYTES:
            self._refuse(*_TOO_LONG)
        elif self.in_head and not (self._reading.is_set or self._deaf):
            self._reading.set(self.server_state.patience.header)

    def on_message_begin(self) -> None:
        """Note where a head begins; it mostly ends before anybody has to wait for that."""
        super().on_message_begin()
        self.in_head, self._overhead, self.idle_since = True, 0, self.loop.time()
        self._reading.unset()

    def on_headers_complete(self) -> None:
        """Note that the head is complete, and hand the request on."""
        if self.parser.should_upgrade():
            return  # it comes again, see `_feed`
        self.in_head, self._overhead = False, 0
        self._reading.unset()
        if sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url) > _HEAD_BYTES:
            self._fail(*_TOO_LONG)
        if len(self.pipeline) >= _PIPELINED:
            self._fail(429, f"more than {_PIPELINED} requests wait on one connection")
        super().on_headers_complete()
        self.headers = Forget()  # where the parser puts trailers
        self.cycle.transport = cast("asyncio.Transport", Outlet(self.transport, self._end))

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of a body; of one that was refused unread, the connection can be used again."""
        if self.parser.should_upgrade():
            return
        self._overhead = 0
        refused = self.cycle.response_complete
        super().on_message_complete()
        if refused:
            self._reading.set(self.server_state.patience.keep_alive)

    def on_response_complete(self) -> None:
        """Go on with what was pipelined, or wait for the next request, or for the rest of a body nobody wanted."""
        if self._active:
            cast("Outlet", self._active.transport).flush()
        if self.transport.is_closing() or (self._deaf and self._reading.is_set):
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, cast("ASGIApp", app))
        elif self.idle:
            self.idle_since = self.loop.time()
            self._reading.set(_LINGER_SECONDS if self.cycle.more_body else self.server_state.patience.keep_alive)
            if self.server_state.closing and not self.cycle.more_body:
                self.close_if_idle()

    def leave(self) -> None:
        """Close, once what is still being sent has been read for a while.

        Closing with bytes unread makes the system reset the connection, and the client may never see its answer.
        """
        if not self.transport.is_closing():
            self._deaf = True
            self._reading.set(_LINGER_SECONDS)
            self.transport.write_eof()
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._writing.set(self.server_state.patience.header)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        self._writing.unset()

    def _end(self) -> None:
        """Close at once if the request has been read to its end."""
        if self.cycle.more_body:
            self.leave()
        else:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        self._active = cycle
        if self.server_state.draining and not self.pipeline:
            cycle.keep_alive = False
        self._task = self.loop.create_task(cycle.run_asgi(app))  # type: ignore[arg-type]
        self._task.add_done_callback(self.tasks.discard)
        self.tasks.add(self._task)

    def _feed(self, data: bytes) -> None:
        """Have the parser read, and see to what it cannot."""
        try:
            while data:
                data = self._feed_once(data)
        except httptools.HttpParserError:
            self._refuse(*self._fault)

    def _feed_once(self, data: bytes) -> bytes:
        """Return what has to be read again: a request that would rather speak another protocol, less that wish.

        The parser takes it for a request without a body, and its body for what follows an upgrade.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as wish:
            head = without_upgrade(self.parser, self.url, self.headers)
            self.parser = httptools.HttpRequestParser(self)
            return head + data[wish.args[0] :]
        return b""

    def _too_slow(self) -> None:
        if self.in_head and not self._deaf:
            self._refuse(408, "the request's head did not arrive in time")
        else:
            self._abort()

    def _abort(self) -> None:
        self.transport.abort()

    def _fail(self, status: int, message: str) -> None:
        """Stop the parser, and refuse what it was reading."""
        self._fault = (status, message)
        raise httptools.HttpParserError(message)

    def _refuse(self, status: int, message: str) -> None:
        """Answer with a JSON error and close; but first, and then without a word, finish what was asked before."""
        asked = [cycle for cycle, _ in self.pipeline] + ([self._active] if self._active else [])
        whole = [cycle for cycle in asked if not (cycle.more_body or cycle.response_complete)]
        if whole:
            self._deaf = True
            self._reading.unset()
            whole[0].keep_alive = False  # the latest
            self.pipeline = deque(entry for entry in self.pipeline if not entry[0].more_body)
            return
        if not self._active or self._active.response_complete or not self._active.response_started:
            body = orjson.dumps({"error": message})
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        self.leave()
