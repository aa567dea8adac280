"""The server's sockets and their end, without the loss of a request.

uvicorn closes its listeners at SIGTERM and drops connections whose first request it has not read. Here SIGTERM makes
the pod unready while it goes on serving, every answer says `Connection: close`, and the listeners close only after
`delay` seconds, once what waits in their queues has been taken in. What is in flight then is finished.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.types import ASGIApp

from service.net.connection import Connection
from service.net.connections import Connections, Patience
from service.net.server import Server

_log = logging.getLogger("tfpod.drain")


@dataclass(frozen=True, slots=True)
class Drain:
    """Seconds from SIGTERM to the listeners' end, and from there to the end of what is in flight."""

    delay: float
    timeout: float


class DrainingServer(Server):
    """Serves one application on one socket, until `drain` or `stop`."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        patience: Patience,
        drain: Drain,
        protocol: Callable[..., asyncio.Protocol] = Connection,
    ) -> None:
        """`protocol` makes what speaks to a client, as uvicorn has it; see connection.py and http2.py."""
        super().__init__(app, http=protocol)
        #: What has to end before the application may: another server of it.
        self.before: Awaitable[None] | None = None
        self.server_state: Connections = Connections(patience)
        self._listener, self._drain = listener, drain
        self._queue = listener.dup()  # now: in the end there may be no descriptor left

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port that it listens at."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    async def run_until_stopped(self) -> None:
        """Serve; return when everything has been answered, or given up."""
        await self.serve(sockets=[self._listener])

    def drain(self) -> None:
        """Begin the end: go on serving for `delay` seconds, then finish what is in flight. A second call: at once."""
        if self.server_state.draining:
            self.stop()
            return
        _log.info("draining", extra={"connections": len(self.server_state.connections)})
        self.server_state.drain()
        asyncio.get_running_loop().call_later(self._drain.delay, self.stop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Take in what waits at the listener, close it, and finish; uvicorn calls this when `should_exit` is seen."""
        await self._close_listener()
        self.server_state.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.server_state.gone.wait(), self._drain.timeout)
        if cut := self.server_state.abort():
            _log.warning("connections were cut at the end of the drain timeout", extra={"connections": cut})
        await asyncio.sleep(0)  # the door takes it for callers who left
        if self.before:
            await self.before
        await self.lifespan.shutdown()

    async def _close_listener(self) -> None:
        """Close the listener, but only once its queue is empty: the system would reset whoever waits in there."""
        accepted: list[socket.socket] = []
        for server in self.servers:
            server.close()
        with contextlib.suppress(OSError), self._queue:  # BlockingIOError at the end of the queue
            while True:  # at one go: who is answered meanwhile would come back, and be the next in the queue
                accepted.append(self._queue.accept()[0])
        for connection in accepted:
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().connect_accepted_socket(self._connection, connection)

    def _connection(self) -> asyncio.Protocol:
        protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return protocol(config=self.config, server_state=self.server_state)
