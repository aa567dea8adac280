"""The batches that the model computes at this moment, and how long it has been at it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextvars import Context

from service.batching.worker import Part, Run

_log = logging.getLogger("tfpod.batcher")


class UnderWay:
    """Batches by when they were begun, the oldest first. Several at once share the model: its time is counted once.

    Calls `give_up`, in `context`, when the oldest has taken `stuck_after` seconds: nobody knows when it ends, if ever.
    """

    def __init__(
        self, clock: Callable[[], float], stuck_after: float, give_up: Callable[[], None], context: Context
    ) -> None:
        self._clock, self._stuck_after, self._give_up, self._context = clock, stuck_after, give_up, context
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.batches: list[Sequence[Part]] = []
        #: True from `give_up` on until the model answers again.
        self.stuck = False
        #: When the oldest was begun, and when the last run ended.
        self._since = self._until = 0.0

    @property
    def running_for(self) -> float:
        """Seconds since the oldest batch was begun, 0 if there is none."""
        return self._clock() - self._since if self.batches else 0.0

    @property
    def uncounted(self) -> float:
        """Seconds that the model has computed, if it does, since the last run ended."""
        return self._clock() - max(self._since, self._until) if self.batches else 0.0

    def begin(self, batch: Sequence[Part], now: float, *, minded: bool) -> None:
        """Add one; if `minded`, it may get stuck."""
        self.batches.append(batch)
        if len(self.batches) == 1:
            self._since = now
            if minded:
                self._mind()

    def end(self, batch: Sequence[Part]) -> None:
        """Remove one."""
        took = self.running_for
        self.batches.remove(batch)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self.batches:
            self._since = self.batches[0][0].begun or 0.0
        if self.stuck and self.running_for < self._stuck_after:
            self.stuck = False
            _log.warning("the model answers again", extra={"seconds": round(took, 3)})
        if self.batches and not self.stuck:
            self._mind()

    def count(self, run: Run) -> float:
        """Return the seconds of a run that is over in which no other was computed that was over before it."""
        seconds = min(run.seconds, run.begun + run.seconds - self._until)
        self._until = max(self._until, run.begun + run.seconds)
        return max(0.0, seconds)

    def _mind(self) -> None:
        self._timer = self._loop.call_at(self._since + self._stuck_after, self._stick, context=self._context)

    def _stick(self) -> None:
        self.stuck, part = True, self.batches[0][0]
        _log.error("the model does not answer", extra={"signature": part.signature, "rows": part.batch_rows})
        self._give_up()
