"""One client's connection: uvicorn's HTTP protocol, with an end to everything that a client can leave unfinished.

uvicorn bounds neither a head's size nor the time it takes, waits for ever for a client that does not read, keeps the
timer of a connection that was reset, and closes without having read what was sent (a reset, to the client).
"""

import asyncio
import contextlib
import select
from typing import Any, Final, cast

import httptools
import orjson
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.connections import Connections

#: Bytes that the head of a request may have.
_HEAD_BYTES: Final = 64 << 10
#: Seconds for which the rest of a body is read and thrown away after its request was answered.
_LINGER_SECONDS: Final = 5.0


class Connection(HttpToolsProtocol):
    """One connection; it lives on the event loop, whose clock its times are."""

    server_state: Connections

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.idle_since = self.loop.time()
        self._in_head = self._leaving = False
        self._head_bytes = 0
        self._fault = (400, "invalid HTTP request")
        #: What the client has to do next, and by when.
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """True between an answer and the next request's first byte."""
        complete = self.cycle is not None and self.cycle.response_complete
        return complete and not (self._in_head or self._leaving or self.pipeline)

    @property
    def fresh(self) -> bool:
        """True until the first byte."""
        return self.cycle is None and not (self._in_head or self._leaving)

    def drain(self) -> None:
        """Close with the answer under way, if that can still be said, or with the next one."""
        if self.cycle and not self.cycle.response_started and not self.pipeline:
            self.cycle.keep_alive = False

    def close_if_idle(self) -> None:
        """Close, unless a request is under way: in the works, in the socket, or the first, not sent yet."""
        if self.idle and not self._readable():
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first byte."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._expect(self.server_state.patience.header)
        self.server_state.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and all its timers, however it ended."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        for timer in (self._reading, self._writing):
            if timer:
                timer.cancel()
        self.server_state.ended()

    def data_received(self, data: bytes) -> None:
        """Parse; bound the head in size and, from its first byte on, in time."""
        if self._leaving:
            return
        was_in_head = self._in_head
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes = self._head_bytes + len(data) if was_in_head else 0
        if self._head_bytes > _HEAD_BYTES:
            self._refuse(431, f"the request's head is longer than {_HEAD_BYTES} bytes")
        elif not was_in_head:
            self._expect(self.server_state.patience.header)

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Note that the head is complete, and hand the request on."""
        self._in_head = False
        self._expect(None)
        if sum(len(name) + len(value) for name, value in self.headers) > _HEAD_BYTES:
            self._fault = (431, f"the request's head is longer than {_HEAD_BYTES} bytes")
            raise httptools.HttpParserError(self._fault[1])
        super().on_headers_complete()
        self.headers = _Forget()  # where the parser puts trailers
        self.cycle.transport = cast("asyncio.Transport", _Exit(self))

    def on_message_complete(self) -> None:
        """Note the end of a body; of one that was refused unread, the connection can be used again."""
        refused = self.cycle.response_complete
        super().on_message_complete()
        if refused:
            self._expect(None)
            self._wait_for_next()

    def on_response_complete(self) -> None:
        """Go on with what was pipelined, or wait for the next request, or for the rest of a body nobody wanted."""
        if self._leaving:
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
        if not self._leaving and not self.transport.is_closing():
            self._leaving = True
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

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text says less
        """Answer what could not be parsed (called by uvicorn), and close."""
        self._refuse(*self._fault)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        if self.server_state.draining and not self.pipeline:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def _wait_for_next(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.server_state.patience.keep_alive, self.timeout_keep_alive_handler
        )

    def _expect(self, seconds: float | None) -> None:
        """Give the client `seconds` for what it has to send next; None: it has sent it."""
        if self._reading:
            self._reading.cancel()
        self._reading = self.loop.call_later(seconds, self._too_slow) if seconds else None

    def _too_slow(self) -> None:
        if self._in_head and not self._leaving:
            self._refuse(408, "the request's head did not arrive in time")
        else:
            self.transport.abort()

    def _refuse(self, status: int, message: str) -> None:
        """Close, and answer with a JSON error unless that would stand within or instead of another answer."""
        if not self.cycle or self.cycle.response_complete or not (self.cycle.response_started or self.pipeline):
            body = orjson.dumps({"error": message})
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        self.leave()

    def _readable(self) -> bool:
        """Tell whether bytes have arrived that the loop has not seen yet."""
        with contextlib.suppress(OSError, ValueError):
            poll = select.poll()
            poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
            return any(events & select.POLLIN for _, events in poll.poll(0))
        return False


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


class _Forget(list[tuple[bytes, bytes]]):
    """A list that stays empty."""

    def append(self, _: tuple[bytes, bytes]) -> None:
        """Forget the item."""
