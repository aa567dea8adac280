"""One client's connection on the event loop, with an end to everything that a client can leave unfinished.

Requests are answered one at a time, in their order. Who sends or reads too slowly is not waited for, a request whose
client is gone is cancelled, and a connection closes when what was sent is read: a reset would take the answer from the
client.
"""

import asyncio
from collections import deque
from typing import Final, cast

import orjson
from starlette.types import Scope
from uvicorn import Config

from service.net.alarm import Alarm
from service.net.connections import Connections
from service.net.exchange import Exchange, status_line
from service.net.reader import Reader, address
from service.net.server import unread

#: Requests that may wait for the answer to one before them.
_PIPELINED: Final = 16
#: Seconds for which the rest of a body is read and thrown away after its request was answered.
_LINGER_SECONDS: Final = 5.0


class Connection(Reader):
    """One connection; its times are the event loop's."""

    transport: asyncio.Transport

    def __init__(self, config: Config, server_state: Connections, **_: object) -> None:
        """Take what uvicorn gives a protocol, less the state of the application, which keeps that by itself."""
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self.idle_since = self.loop.time()
        #: While the client does not read: when it does.
        self.drained: asyncio.Future[None] | None = None
        self._connections, self._app = server_state, config.loaded_app
        self._deaf = False  # what still comes is not looked at: the connection ends when all that was asked is answered
        self._paused = False
        #: The exchange that is answered, and those that wait for that.
        self._active: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        #: In which they are: one task for each would cost as much as parsing does. It is called by `_called`.
        self._task: asyncio.Task[None] | None = None
        self._called: asyncio.Future[None]
        #: By when the client has to have sent what it has to send next, and to have read what was sent to it.
        self._reading = Alarm(self.loop, self._too_slow)
        self._writing = Alarm(self.loop, self._abort)

    @property
    def defaults(self) -> bytes:
        """The lines of every answer's headers."""
        return self._connections.default_lines

    @property
    def idle(self) -> bool:
        """True between an answer and the next request's first byte."""
        answered = self.latest is not None and self.latest.answered
        return answered and not (self.in_head or self._deaf or self._waiting)

    @property
    def fresh(self) -> bool:
        """True until the first byte."""
        return self.latest is None and not (self.in_head or self._deaf)

    @property
    def _leaving(self) -> bool:
        """True while what the client still sends is read and thrown away, before the end."""
        return self._deaf and self._reading.is_set

    def drain(self) -> None:
        """Close with the answer under way, if that can still be said, or with the next one."""
        if self.latest and not self.latest.started and not self._waiting:
            self.latest.keep_alive = False

    def close_if_idle(self) -> None:
        """Close, unless a request is under way: in the works, in the socket, or the first, not sent yet."""
        if self.idle and not unread(self.transport):
            self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first byte."""
        self.transport = cast("asyncio.Transport", transport)
        self.server, self.client = address(transport, "sockname"), address(transport, "peername")
        self._reading.set(self._connections.patience.header)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        """Forget the connection, all its timers and whatever it asked for."""
        if self._active:
            self._active.lose()
        if self._task:
            self._task.cancel()
        self.resume_writing()
        self._reading.close()
        self._writing.close()
        self.latest = self._active = self._task = self._parser = None  # what is in a circle is freed late
        self._waiting.clear()
        self._connections.remove(self)

    def data_received(self, data: bytes) -> None:
        """Read, unless nobody listens any more."""
        if not self._deaf:
            self.read(data)
            if self.in_head and not (self._reading.is_set or self._paused or self._deaf):
                self._reading.set(self._connections.patience.header)

    def eof_received(self) -> None:
        """Close: a client that says no more will mostly be gone."""
        self._close()

    def head_begins(self) -> None:
        """Wait no more for a request; mostly its head ends before anybody has to wait for that."""
        self.idle_since = self.loop.time()
        self._reading.unset()

    def begin(self, scope: Scope, *, keep_alive: bool, expects: bool) -> Exchange:
        """Have a request answered, or wait for those before it."""
        self._reading.unset()
        exchange = Exchange(self, scope, keep_alive=keep_alive, expects=expects)
        if self.latest is None or self.latest.answered:
            self._answer(exchange)
        elif len(self._waiting) < _PIPELINED:
            self.pause_reading()
            self._waiting.append(exchange)
        else:
            self.fail(429, f"more than {_PIPELINED} requests wait on one connection")
        return exchange

    def ended(self, exchange: Exchange) -> None:
        """Wait for the next request, if this one was refused before its body was read."""
        if exchange.answered:
            self._reading.set(self._connections.patience.keep_alive)
            if self._connections.closing:
                self.loop.call_soon(self.close_if_idle)  # not yet: the next request may have come in the same piece

    def answered(self, exchange: Exchange) -> None:
        """Go on with what was pipelined, or wait for the next request, or for the rest of a body nobody wanted."""
        if not exchange.keep_alive:
            self._end()
        if self.transport.is_closing() or self._leaving:
            return
        if self._paused and len(self._waiting) < 2:  # what more of them there are came in one piece
            self.resume_reading()
        if self._waiting:
            self._answer(self._waiting.popleft())
        elif not (self.in_head or self._deaf):
            self.idle_since = self.loop.time()
            self._reading.set(self._connections.patience.keep_alive if exchange.whole else _LINGER_SECONDS)
            if self._connections.closing:
                self.close_if_idle()

    def pause_reading(self) -> None:
        """Leave what the client sends in the socket."""
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
            if self.in_head and not self._deaf:
                self._reading.set(self._connections.patience.header)

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        self.drained = self.loop.create_future()
        self._writing.set(self._connections.patience.header)

    def resume_writing(self) -> None:
        """Go on: the client has read, or is gone."""
        drained, self.drained = self.drained, None
        if drained and not drained.done():
            drained.set_result(None)
        if not self.transport.is_closing():
            self._writing.unset()

    def leave(self) -> None:
        """Close, once what is still being sent has been read for a while."""
        if not self.transport.is_closing():
            self._deaf = True
            self._reading.set(_LINGER_SECONDS)
            self.transport.write_eof()
            self.resume_reading()

    def refuse(self, status: int, message: str) -> None:
        """Answer with a JSON error and close; but first, and then without a word, finish what was asked before."""
        asked = [*([self._active] if self._active else []), *self._waiting]
        whole = [exchange for exchange in asked if exchange.whole and not exchange.answered]
        if whole:
            self._deaf = True
            self._reading.unset()
            whole[-1].keep_alive = False
            self._waiting = deque(exchange for exchange in self._waiting if exchange.whole)
            return
        if not self._active or self._active.answered or not self._active.started:
            body = orjson.dumps({"error": message})
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close" % len(body)
            self.transport.write(b"%b\r\n%b\r\n\r\n%b" % (status_line(status), head, body))
        if self._active:
            self._active.lose()
        self.leave()

    def _answer(self, exchange: Exchange) -> None:
        """Have the application answer."""
        self._active = exchange
        if self._connections.draining and not self._waiting:
            exchange.keep_alive = False
        if self._task is None:
            self._task = self.loop.create_task(self._answer_all())
        else:
            self._called.set_result(None)

    async def _answer_all(self) -> None:
        try:
            while self._active:
                self._called = self.loop.create_future()
                await self._active.run(self._app)
                await self._called
        finally:
            if not self._leaving:
                self._abort()

    def _end(self) -> None:
        """Close at once if the last request has been read to its end, and nothing is left that will not be read."""
        if self.latest and self.latest.whole and not self._deaf:
            self._close()
        else:
            self.leave()

    def _close(self) -> None:
        """Close, once the client has read what was written; that, too, has an end."""
        self._writing.set(self._connections.patience.header)
        self.transport.close()

    def _too_slow(self) -> None:
        if self.in_head and not self._deaf:
            self.refuse(408, "the request's head did not arrive in time")
        else:
            self._abort()

    def _abort(self) -> None:
        self.transport.abort()
