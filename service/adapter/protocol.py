"""HTTP on one connection: uvicorn's protocol, with limits and the client's certificate."""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.adapter.auth import Certificate
from service.net.server import Server

#: A request's head and body.
MAX_REQUEST: Final = 64 << 10


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 with the client's certificate in the scope, and with limits to what a client may send."""

    transport: asyncio.Transport | None = None  # type: ignore[assignment]  # as it is before the connection is made

    def __init__(self, server: Server) -> None:
        super().__init__(server.config, server.server_state, {})
        self.certificate: Certificate = None
        self.lost = asyncio.Event()
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the certificate, which the TLS context has verified."""
        self.certificate = self.app_state["certificate"] = transport.get_extra_info("peercert")
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits for it."""
        super().connection_lost(exc)
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        """Refuse a request that is too long: uvicorn itself has no limit."""
        self._received += len(data)
        if self._received > MAX_REQUEST:
            self.send_400_response("The request is too long.")
        else:
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Refuse a request that doesn't wait for the answer to the one before: thousands would fit into the limit."""
        if self.cycle and not self.cycle.response_complete:
            raise ValueError("pipelined request")
        super().on_message_begin()

    def on_response_complete(self) -> None:
        """Begin to count anew."""
        self._received = 0
        super().on_response_complete()
