"""One client's connection: uvicorn's HTTP protocol, with an end to everything that a client can leave unfinished.

uvicorn bounds neither a head's size nor the time it takes, waits for ever for a client that does not read, keeps the
timer of a connection that was reset, and closes without having read what was sent (a reset, to the client).
"""

import asyncio
from collections import deque
from typing import Any, Final, cast

import httptools
import orjson
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.net.connections import Connections
from service.net.heads import Forget, without_upgrade
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
        self.timeout_keep_alive = self.server_state.patience.keep_alive  # type: ignore[assignment]  # a fraction too
        self.idle_since = self.loop.time()
        self.in_head = False
        self._deaf = False  # what still comes is not looked at: the connection ends when all that was asked is answered
        self._overhead = 0  # bytes since anything was got out of them: a head or a trailer that goes on and on
        self._fault = (400, "invalid HTTP request")
        self._active: RequestResponseCycle | None = None
        #: What the client has to do next, and by when.
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

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
        self._expect(self.server_state.patience.header)
        self.server_state.make_room(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and all its timers, however it ended."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        for timer in (self._reading, self._writing):
            if timer:
                timer.cancel()
        self.server_state.ended()

    def data_received(self, data: bytes) -> None:
        """Parse; bound what is neither a body nor the end of a head."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._overhead += len(data)
        self._feed(data)
        if self._overhead > _HEAD_BYTES:
            self._refuse(*_TOO_LONG)
        elif self.idle and not self.cycle.more_body:  # an empty line between requests
            self._wait_for_next()

    def on_message_begin(self) -> None:
        """Give the head some time."""
        super().on_message_begin()
        self.in_head, self._overhead, self.idle_since = True, 0, self.loop.time()
        self._expect(self.server_state.patience.header)

    def on_headers_complete(self) -> None:
        """Note that the head is complete, and hand the request on."""
        if self.parser.should_upgrade():
            return  # it comes again, see `_feed`
        self.in_head, self._overhead = False, 0
        self._expect(None)
        if sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url) > _HEAD_BYTES:
            self._fail(*_TOO_LONG)
        if len(self.pipeline) >= _PIPELINED:
            self._fail(429, f"more than {_PIPELINED} requests wait on one connection")
        super().on_headers_complete()
        self.headers = Forget()  # where the parser puts trailers
        self.cycle.transport = cast("asyncio.Transport", _Exit(self))

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
            self._expect(None)
            self._wait_for_next()

    def on_response_complete(self) -> None:
        """Go on with what was pipelined, or wait for the next request, or for the rest of a body nobody wanted."""
        if self._reading and self._deaf:
            return
        super().on_response_complete()
        if not self.idle or self.transport.is_closing():
            return
        self.idle_since = self.loop.time()
        if self.cycle.more_body:
            self._unset_keepalive_if_required()
            self._expect(_LINGER_SECONDS)
        elif self.server_state.closing:
            self.close_if_idle()

    def leave(self) -> None:
        """Close, once what is still being sent has been read for a while.

        Closing with bytes unread makes the system reset the connection, and the client may never see its answer.
        """
        if not self.transport.is_closing():
            self._deaf = True
            self._expect(_LINGER_SECONDS)
            self.transport.write_eof()
            self.flow.resume_reading()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that was idle for too long, even if the client has not read its last answer."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.server_state.patience.header, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        if self._writing:
            self._writing.cancel()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        self._active = cycle
        if self.server_state.draining and not self.pipeline:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

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

    def _wait_for_next(self) -> None:
        self._unset_keepalive_if_required()
        handler = self.timeout_keep_alive_handler
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, handler)

    def _expect(self, seconds: float | None) -> None:
        """Give the client `seconds` for what it has to send next; None: it has sent it."""
        if self._reading:
            self._reading.cancel()
        self._reading = self.loop.call_later(seconds, self._too_slow) if seconds else None

    def _too_slow(self) -> None:
        if self.in_head and not self._deaf:
            self._refuse(408, "the request's head did not arrive in time")
        else:
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
            self._expect(None)
            whole[0].keep_alive = False  # the latest
            self.pipeline = deque(entry for entry in self.pipeline if not entry[0].more_body)
            return
        if not self._active or self._active.response_complete or not self._active.response_started:
            body = orjson.dumps({"error": message})
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        self.leave()


class _Exit:
    """What a request's cycle sees of the transport: its answer may close the connection, in good order."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing

    def close(self) -> None:
        """Close at once if the request has been read to its end."""
        if self._connection.cycle.more_body:
            self._connection.leave()
        else:
            self._connection.transport.close()
