"""How long a batch waits for company while the model is free: some turns of the event loop."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final

from service.batching.line import Line

#: How often at most it waits for whom the loop reads next, some milliseconds in all where the loop is the bottleneck:
#: two smaller batches would take a quick model twice the time.
_GATHERINGS: Final = 8


class Gathering:
    """Calls `begin` once no more line up, or as many as fit into one batch; in nobody's context."""

    def __init__(self, line: Line, max_rows: int, begin: Callable[[], None], context: Context) -> None:
        self._line, self._max_rows, self._begin, self._context = line, max_rows, begin, context
        self._loop = asyncio.get_running_loop()
        #: True until it is over.
        self.under_way = False

    def start(self, *, patient: bool) -> None:
        """Let the loop read from the sockets, and what it has read line up; if `patient`, while that brings more."""
        self.under_way = True
        self._in_two_turns(self._line.rows, _GATHERINGS if patient else 0)

    def _in_two_turns(self, rows: int, gatherings: int) -> None:
        self._loop.call_soon(self._loop.call_soon, self._look, rows, gatherings, context=self._context)

    def _look(self, rows: int, gatherings: int) -> None:
        if gatherings and rows < self._line.rows < self._max_rows:
            self._in_two_turns(self._line.rows, gatherings - 1)
            return
        self.under_way = False
        self._begin()
