"""What is sent on one connection in HTTP/2: each stream has its window, all have one together, and the socket is full.

A client that reads gets its answers in the order in which they had to wait; one that does not is not waited for.
"""

import asyncio
from typing import Final

from h2.connection import H2Connection

from service.net.talk import Talk

#: A client that lets no more bytes through in the time it has is as good as gone.
_SLOWEST: Final = 64 << 10
#: Bytes that it may say to a frame of an answer: that it may be sent more, by both windows, and how fast that comes.
_REPLY: Final = 64


class Outflow:
    """What goes out of a connection to a client that may take `patience` seconds for every 64 KiB of an answer."""

    def __init__(self, h2: H2Connection, transport: asyncio.Transport, patience: float, talk: Talk) -> None:
        self._h2, self._transport, self._patience, self._talk = h2, transport, patience, talk
        #: The client does not read what was written.
        self.paused = False
        #: By their streams: the answers that wait, and how many bytes of each.
        self._waiting: dict[int, tuple[asyncio.Future[None], int]] = {}

    def flush(self) -> None:
        """Write what the package has put together."""
        if data := self._h2.data_to_send():
            self._transport.write(data)

    async def send(self, number: int, body: bytes) -> None:
        """Send a body on a stream. Raises CancelledError if the client does not take it in time."""
        rest, begun = self._send(number, memoryview(body)), asyncio.get_running_loop().time()
        while rest:
            sent = len(body) - len(rest)
            await self._turn(number, len(rest), begun + self._patience * (1 + sent // _SLOWEST))
            rest = self._send(number, rest)

    def wake(self) -> None:
        """Have those go on that may send now, and no more of them than there is room for."""
        room = 0 if self.paused else self._h2.outbound_flow_control_window
        for number, (waiter, size) in self._waiting.items():
            if room <= 0:
                break
            if not waiter.done() and (own := self._h2.local_flow_control_window(number)) > 0:
                waiter.set_result(None)
                room -= min(own, size)

    def _send(self, number: int, data: memoryview) -> memoryview:
        """Send what there is room for, and return the rest; a short body goes out with its head and its end."""
        while data and not self.paused:
            size = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size, len(data))
            if size <= 0:
                break
            self._h2.send_data(number, data[:size])
            self._talk.allow(_REPLY)
            data = data[size:]
            if data:
                self.flush()
        return data

    async def _turn(self, number: int, size: int, until: float) -> None:
        """Wait for room on a stream."""
        self.flush()
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        timer = loop.call_at(until, waiter.cancel)
        self._waiting[number] = waiter, size
        try:
            await waiter
        finally:
            timer.cancel()
            del self._waiting[number]
