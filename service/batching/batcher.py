"""Forms batches of the calls that wait, has them computed, and hands each caller its rows.

The batcher lives on the event loop; the model computes in a thread, or two. A batch goes when a thread is free: under
load batches grow by themselves, and a lonely call waits for nobody.
"""

import asyncio
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context
from typing import Final

from service.batching.form import Batching, Form
from service.batching.gathering import Gathering
from service.batching.line import HEAD_START, Line
from service.batching.pace import Moments, Pace
from service.batching.underway import UnderWay
from service.batching.worker import LATE, Failure, Part, Result, Run, Worker, joined
from service.errors import NotReady, Overloaded, TooLarge
from service.expiry import Expiry
from service.metrics import ModelMetrics
from service.stages import watched
from service.types import Call, Runner, Tensors

_STUCK: Final = Failure(NotReady, "the model does not answer")

#: A batch of so many seconds waits for nobody who is not about to come.
_SLOW: Final = 0.01


class Batcher:
    """One model's queue. Use it from one event loop; `clock` counts seconds, as deadlines and the loop's clock do."""

    def __init__(
        self,
        runner: Runner,
        metrics: ModelMetrics,
        batching: Batching,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics, self._batching, self._clock = metrics, batching, clock
        self._loop = asyncio.get_running_loop()
        self._forms = {name: Form(name, signature, batching) for name, signature in runner.signatures.items()}
        #: In which it acts by itself: what is logged then is not about whoever was served just before.
        self._nobodys = Context()
        self._line = Line(batching.max_rows, batching.max_bytes, batching.timeout)
        self._gathering = Gathering(self._line, batching.max_rows, self._begin, self._nobodys)
        self._pace = Pace(batching.max_rows)
        self._expiry = Expiry(self._waiting, lambda part: part.settle(LATE), clock)
        self._numbers = itertools.count()
        self._under_way = UnderWay(clock, batching.stuck_after, self._refuse_waiting, self._nobodys)
        self._moments = Moments()
        #: When a batch waits for company no more.
        self._timer: asyncio.TimerHandle | None = None
        #: Of large calls, what has not lined up yet.
        self._later_rows = self._later_bytes = 0
        self._worker = Worker(runner, self._deliver, clock, batching.sizes, batching.at_once)

    def check(self, priority: int, deadline: float) -> None:
        """Raise what `submit` would now raise for a single row: worth asking before a body is read."""
        if self._under_way.stuck or not self._line.has_room(1, 0):
            self._admit(1, 0, priority, deadline)

    async def submit(self, call: Call, deadline: float) -> Tensors:
        """Return the outputs for `call`, of one row at least; one that is larger than a batch is computed in pieces.

        Never waits for room: raises Overloaded if the queue is full or too slow, TooLarge if the call would not even
        fit an empty one, NotReady while the model does not answer. Raises DeadlineExceeded if the clock passes
        `deadline` first, ModelFailed if the model fails and whatever PodError its runner raises. Cancelling the caller
        withdraws what has not begun to be computed.
        """
        form = self._forms[call.signature]
        rows, size = form.measure(call.inputs)
        late = deadline <= self._clock()
        if late or self._under_way.stuck or self._later_rows or not self._line.has_room(rows, size):
            self._admit(rows, size, call.priority, deadline)  # else they go with the next batch
        step = self._batching.step(rows, size) if form.shares else rows
        if step == rows:
            return await self._compute(call, call.inputs, rows, size, deadline)
        return await self._compute_pieces(call, rows, size, step, deadline)

    @property
    def queue_rows(self) -> int:
        """Rows that wait."""
        return self._line.rows + self._later_rows

    @property
    def queue_bytes(self) -> int:
        """Bytes of the inputs that wait."""
        return self._line.size + self._later_bytes

    @property
    def most_rows(self) -> int:
        """The rows that one call may have."""
        return self._batching.max_queue_rows

    @property
    def running_for(self) -> float:
        """Seconds since the oldest batch under way was begun, 0 if there is none."""
        return self._under_way.running_for

    def busy_percent(self) -> float:
        """Share of the last 15 s in which the model computed."""
        return self._metrics.busy_percent(self._under_way.uncounted)

    def close(self) -> None:
        """Let the threads end after the batches under way, if there are any; nobody may wait for another."""
        self._worker.close()
        self._expiry.close()

    def _waiting(self) -> Iterator[Part]:
        """Yield the parts that have no answer yet."""
        return (part for part in itertools.chain(self._line, *self._under_way.batches) if not part.answer.done())

    def _admit(self, rows: int, size: int, priority: int, deadline: float) -> None:
        """Raise what keeps so many rows from waiting; those with priority find room for one more batch."""
        limits, now = self._batching, self._clock()
        if rows > limits.max_queue_rows:
            raise TooLarge(f"{rows} rows in one request; at most {limits.max_queue_rows} are taken")
        if size > limits.max_queue_bytes:
            raise TooLarge(f"{size} bytes of tensors in one request; at most {limits.max_queue_bytes} are taken")
        if deadline <= now:
            raise LATE.kind(LATE.text)
        if self._under_way.stuck:
            raise _STUCK.kind(_STUCK.text)
        if self.queue_rows + rows > limits.max_queue_rows + priority * limits.max_rows:
            raise Overloaded(f"the model's queue is full: {self.queue_rows} rows wait")
        if self.queue_bytes + size > limits.max_queue_bytes + priority * limits.max_bytes:
            raise Overloaded(f"the model's queue is full: {self.queue_bytes} bytes wait")
        if batches := self._line.batches(priority):
            wait, overloaded = self._pace.wait(batches, self._under_way.uncounted), self._pace.overloaded(now)
            if wait > min(deadline - now, limits.overload_wait if overloaded else math.inf):
                if overloaded:
                    self._pace.refused(now)
                raise Overloaded(f"the model's queue is full: the wait would be {wait:.1f} s", math.ceil(wait))

    async def _compute_pieces(self, call: Call, rows: int, size: int, step: int, deadline: float) -> Tensors:
        """Compute a large call; a piece lines up when the one before it is done, so others have turns in between."""
        answers: list[Tensors] = []
        self._later_rows += rows
        self._later_bytes += size
        try:
            for start in range(0, rows, step):
                inputs = {name: array[start : start + step] for name, array in call.inputs.items()}
                some, bytes_ = self._forms[call.signature].measure(inputs)
                rows, size = rows - some, size - bytes_
                self._later_rows -= some
                self._later_bytes -= bytes_
                answers.append(await self._compute(call, inputs, some, bytes_, deadline))
        finally:
            self._later_rows -= rows
            self._later_bytes -= size
        return joined(answers)

    async def _compute(self, call: Call, inputs: Tensors, rows: int, size: int, deadline: float) -> Tensors:
        """Line up as one part, and return its outputs."""
        form, number, since = self._forms[call.signature], next(self._numbers), self._clock()
        part = Part(
            key=form.key(call, number),
            order=(since - HEAD_START * call.priority, number),
            signature=call.signature,
            inputs=inputs,
            rows=rows,
            size=size,
            priority=call.priority,
            since=since,
            deadline=deadline,
            answer=self._loop.create_future(),
            shares=form.shares,
        )
        self._line.add(part)
        self._expiry.watch(part)
        self._start_soon()
        try:
            result = await part.answer
        finally:
            if part.begun is None:
                self._line.remove(part)
            if watched() is not None:
                part.note()
        if isinstance(result, Failure):
            raise result.kind(result.text)
        return result

    def _start_soon(self) -> None:
        """Begin a batch that is full; another as soon as no more calls come: those just answered send their next."""
        if self._gathering.under_way or not self._line or self._is_busy():
            return
        if self._line.is_full():
            self._nobodys.run(self._begin)
        else:
            self._gathering.start(patient=self._pace.batch_seconds < _SLOW)

    def _begin(self, not_before: float = -math.inf) -> None:
        """Begin the next batch, or come back when one has waited for company long enough."""
        if self._is_busy():
            return
        now = max(not_before, self._clock())
        if batch := self._line.take(now):
            quick = batch[0].signature in self._batching.quick and self._moments.allowed(now)
            self._under_way.begin(batch, now, minded=not quick)
            rows, observe = sum([part.rows for part in batch]), self._metrics.queue_seconds.observe
            for part in batch:
                part.begun, part.batch_rows = now, rows
                observe(now - part.since)
            if quick:
                self._worker.compute_here(batch)
                self._moments.took(now, self._clock())
            else:
                self._worker.compute(batch)
        elif self._line:
            due = self._line.due()
            if self._timer:
                self._timer.cancel()
            # The loop's timers may be early by a fraction of a millisecond.
            begin = functools.partial(self._begin, due)
            self._timer = self._loop.call_at(due, begin, context=self._nobodys)

    def _is_busy(self) -> bool:
        """Tell whether nothing may be begun. What is begun beside another makes both slower: it pays in a crowd."""
        count = len(self._under_way.batches)
        return count > 0 and (count >= self._batching.at_once or not self._line.batches(0))

    def _refuse_waiting(self) -> None:
        for part in self._line:
            part.settle(_STUCK)

    def _deliver(self, batch: Sequence[Part], results: Sequence[Result], runs: Sequence[Run]) -> None:
        """Hand out the results; callers who left are passed over."""
        now = self._clock()
        took = 0.0
        for run in runs:
            took += (seconds := self._under_way.count(run))
            self._metrics.computed(run.rows, run.seconds, seconds, run.padding, failed=run.failed)
        self._pace.computed(batch[0].batch_rows, took, self._line.rows, now)
        self._under_way.end(batch)
        self._start_soon()  # if there is a full batch, before the loop is busy with these answers
        for part, result in zip(batch, results, strict=True):
            part.ended = now
            part.settle(result)
