"""All connections of one server: how long they are waited for, how many there may be, how they end."""

import asyncio
import heapq
from dataclasses import dataclass
from typing import Final, Protocol

from uvicorn.server import ServerState

from service.net.exchange import lines_of
from service.net.heads import Headers

#: Calls under way on all connections, until each of them has its share.
ALL_CALLS: Final = 4096
#: To make room takes a look at all connections: so one in so many is cut at once; and where none can be, there is no
#: other look for so many seconds.
_SHARE: Final = 64
_PAUSE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a connection is waited for, in seconds; and how many there may be."""

    #: The head of a request, the first byte of a connection, a client that does not read.
    header: float
    #: Between an answer and the next request.
    keep_alive: float
    connections: int


class Held(Protocol):
    """What is asked of a connection here; see connection.py."""

    transport: asyncio.Transport
    #: The loop's time when it last began to wait for a request, or to read one's head.
    idle_since: float
    in_head: bool

    @property
    def idle(self) -> bool:
        """Tell whether it waits for its next request."""
        ...

    @property
    def fresh(self) -> bool:
        """Tell whether it waits for its first one."""
        ...

    def drain(self) -> None:
        """Close with the next answer."""
        ...

    def close_if_idle(self) -> None:
        """Close, unless a request is under way."""
        ...


class Connections(ServerState):
    """All connections of one server (uvicorn's state of a server)."""

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self.connections: set[Held] = set()  # type: ignore[assignment]  # uvicorn's own protocols have other methods
        self.patience = patience
        #: Calls under way on all of them, where one may have several.
        self.calls = 0
        #: Those that are known to close, and hold no place any more; and when it is time to look for others to cut.
        self._leaving: set[Held] = set()
        self._look_at = 0.0
        self._lines: tuple[Headers, bytes] = self.default_headers, b""
        #: Every answer says `Connection: close`.
        self.draining = False
        #: No connection outlives its answer; with the last one, `gone` is set.
        self.closing = False
        self.gone = asyncio.Event()

    @property
    def default_lines(self) -> bytes:
        """The lines of every answer's headers, of which uvicorn makes a new list every second."""
        if self._lines[0] is not self.default_headers:
            self._lines = self.default_headers, lines_of(self.default_headers)
        return self._lines[1]

    def drain(self) -> None:
        """Have every connection close with the answer to its present or its next request."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()

    def close(self) -> None:
        """Close the connections that wait for nothing; the others close with their answer."""
        self.draining = self.closing = True
        for connection in list(self.connections):
            connection.close_if_idle()
        self._ended()

    def abort(self) -> int:
        """Cut every connection; return how many there were."""
        connections = list(self.connections)
        for connection in connections:
            connection.transport.abort()
        return len(connections)

    def add(self, connection: Held) -> None:
        """Take in a connection."""
        self.connections.add(connection)
        if self._too_many:
            self._make_room(connection)

    def full(self, calls: int) -> bool:
        """Tell whether a connection that has so many calls may have no other."""
        # Who holds less than its share goes on when the others hold all there are: nobody is kept out by what strangers
        # leave unread on a few connections, and there are never more than twice as many calls.
        return self.calls >= ALL_CALLS and calls >= max(1, ALL_CALLS // len(self.connections))

    def remove(self, connection: Held) -> None:
        """Forget a connection that has ended."""
        self.connections.discard(connection)
        self._leaving.discard(connection)
        self._ended()

    @property
    def _too_many(self) -> bool:
        return len(self.connections) - len(self._leaving) > self.patience.connections

    def _make_room(self, newcomer: Held) -> None:
        """If there is none, cut who kept a place the longest without a whole request; if nobody did, the newcomer."""
        cut: list[Held] = []
        if newcomer.idle_since >= self._look_at:
            self._leaving.update(each for each in self.connections if each.transport.is_closing())
            if not self._too_many:
                return
            held = self.connections - self._leaving - {newcomer}
            waiting = [each for each in held if each.idle or each.fresh or each.in_head]
            many = 1 + self.patience.connections // _SHARE
            cut = heapq.nsmallest(many, waiting, key=lambda each: (each.in_head, each.idle_since))
            if not cut:
                self._look_at = newcomer.idle_since + _PAUSE
        for each in cut or [newcomer]:
            self._leaving.add(each)
            each.transport.abort()

    def _ended(self) -> None:
        """Take note that a connection may have been the last."""
        if self.closing and not self.connections:
            self.gone.set()
