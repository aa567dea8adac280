"""The TLS door: greets connections, keeps strangers few and short, and serves with certificates that may change."""

import asyncio
import contextlib
import logging
import socket
import ssl
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp

from service.adapter.auth import Auth
from service.adapter.protocol import Protocol
from service.net.server import Server

#: How long a connection may last that doesn't show the front proxy's certificate, and how many of them may.
STRANGER_SECONDS: Final = 5.0
MAX_STRANGERS: Final = 64
#: The front proxy's description and the certificate's files are read so often; also, once a second at most, when a
#: client shows a certificate that doesn't verify: the CA may have changed.
REFRESH_SECONDS: Final = 15.0
REFRESH_PAUSE: Final = 1.0

logger = logging.getLogger("tfpod.adapter")


class Door:
    """Serves `app` on a listening socket over TLS 1.3: to the front proxy, and briefly to strangers.

    A stranger is who is still shaking hands or has shown no certificate of the front proxy. `app` finds the client's
    verified certificate, if any, in the scope as `state["certificate"]`.
    """

    def __init__(self, app: ASGIApp, auth: Auth, cert_file: Path, key_file: Path, listener: socket.socket) -> None:
        self._auth = auth
        self._files = (cert_file, key_file)
        self._listener = listener
        self._server = Server(app, http=Protocol, lifespan="off", timeout_keep_alive=75, timeout_graceful_shutdown=5)
        self._context: ssl.SSLContext | None = None
        self._loaded: object = None
        self._strangers: dict[asyncio.Task[None], None] = {}
        self._doubt = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Tell whether the serving certificate is loaded and the front proxy known."""
        return self._context is not None

    async def serve(self) -> None:
        """Serve until `close` is called and what was asked before is answered."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._server.serve(sockets=[]))
            work = [tasks.create_task(self._refresh()), tasks.create_task(self._accept())]
            await self._closing.wait()
            for task in work:
                task.cancel()
            await asyncio.wait(work)
            self._listener.close()
            self._hang_up()
            self._server.stop()

    def close(self) -> None:
        """Take no more connections, and end when the last answer is sent."""
        self._closing.set()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # no file descriptor is left, say
                logger.warning("connection not accepted", extra={"reason": str(error)})
                await asyncio.sleep(0.1)
                continue
            if len(self._strangers) >= MAX_STRANGERS:
                oldest = next(iter(self._strangers))
                del self._strangers[oldest]
                oldest.cancel()
            task = asyncio.create_task(self._greet(connection))
            self._strangers[task] = None
            task.add_done_callback(lambda task: self._strangers.pop(task, None))
            await asyncio.sleep(0)  # sock_accept doesn't yield while connections are waiting

    async def _greet(self, connection: socket.socket) -> None:
        """Shake hands; leave the front proxy to the server, and a stranger only until its time is over."""
        if self._context is None:
            connection.close()
            return
        protocol = Protocol(self._server)
        trusted = False
        try:
            async with asyncio.timeout(STRANGER_SECONDS):
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: protocol, connection, ssl=self._context, ssl_shutdown_timeout=1.0
                )
                trusted = self._auth.trusts(protocol.certificate)
                if not trusted and protocol.transport:
                    await protocol.lost.wait()
        except ssl.SSLCertVerificationError as error:
            if not self._doubt.is_set():
                logger.warning("client certificate refused", extra={"reason": error.verify_message})
            self._doubt.set()
        except OSError:  # the client's trouble, or the timeout
            pass
        finally:
            if not trusted and protocol.transport:
                protocol.transport.abort()

    async def _refresh(self) -> None:
        while True:
            await self._auth.refresh()
            self._renew()
            await asyncio.sleep(REFRESH_PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_SECONDS if self.ready else REFRESH_PAUSE):
                    await self._doubt.wait()
            self._doubt.clear()

    def _renew(self) -> None:
        """Make a new TLS context where the files or the front proxy have changed; everybody connects anew then."""
        front = self._auth.front
        try:
            wanted = (front, *(file.read_bytes() for file in self._files))
            if front is None or wanted == self._loaded:
                return
            self._context = _context(front.ca, *self._files)
        except (OSError, ValueError) as error:
            logger.warning("certificates not loaded", extra={"reason": str(error)})
            return
        logger.info("certificates loaded")
        self._loaded = wanted
        self._hang_up()
        for connection in list(self._server.server_state.connections):
            connection.shutdown()

    def _hang_up(self) -> None:
        for task in self._strangers:
            task.cancel()


def _context(ca: str, cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """Return a context that asks for a client's certificate, and ends the handshake where it is none of the CA's.

    Sessions are never resumed: each connection proves itself against the CA of today.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(cert_file, key_file)
    context.load_verify_locations(cadata=ca)
    return context
