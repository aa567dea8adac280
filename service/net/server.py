"""What both programs serve with: sockets, and a uvicorn that leaves signals to the program."""

import asyncio
import contextlib
import select
import socket
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

_BACKLOG: Final = 2048


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; without a host on all addresses, of both families where there are both.

    Raises OSError, which says what is wrong.
    """
    if host:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    else:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        listener = socket.create_server(("", port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    listener.setblocking(False)
    return listener


def unread(transport: asyncio.Transport) -> bool:
    """Tell whether bytes have arrived that the loop has not seen yet."""
    with contextlib.suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        return any(events & select.POLLIN for _, events in poll.poll(0))
    return False


class Server(uvicorn.Server):
    """Serves one ASGI application until `stop`."""

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        """Take `options` as uvicorn.Config does; what is not given is quiet: no access log, no word of itself."""
        quiet: dict[str, Any] = {
            "ws": "none",
            "interface": "asgi3",
            "access_log": False,
            "log_config": None,
            "log_level": "error",  # a stranger's bad requests are no news
            "proxy_headers": False,
            "server_header": False,
            "backlog": _BACKLOG,
        }
        super().__init__(uvicorn.Config(app, **quiet | options))
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Take no more connections, and end when the last answer is sent."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Keep the Date header right until `stop`; uvicorn's own loop looks ten times a second."""
        while not self._stopping.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
