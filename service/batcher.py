"""Forms batches of the calls that wait, has them computed one at a time, and hands each caller its rows.

The batcher lives on the event loop; the model computes in a thread. The batcher goes when the thread is free: under
load batches grow by themselves, and a lonely call waits for nobody.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from service.errors import Overloaded, TooLarge
from service.metrics import ModelMetrics
from service.stages import note
from service.types import Call, Runner, Tensors
from service.worker import LATE, Failure, Part, Result, Run, Worker, concatenate


@dataclass(frozen=True, slots=True)
class Batching:
    """How many rows a batch takes and how many may wait for theirs.

    Not `enabled`, every call is computed as it came: for a model in which the rows of a batch affect each other.
    """

    max_rows: int
    max_queue_rows: int
    enabled: bool = True


class Batcher:
    """One model's queue. Use it from one event loop; `clock` counts seconds, as deadlines and the loop's clock do."""

    def __init__(
        self,
        runner: Runner,
        metrics: ModelMetrics,
        batching: Batching,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signatures, self._metrics, self._batching = runner.signatures, metrics, batching
        self._clock = clock
        self.queue_rows = 0
        self._waiting: dict[Hashable, dict[int, Part]] = {}
        self._running: Sequence[Part] = ()
        self._running_since = 0.0
        self._starting = False
        self._numbers = itertools.count()
        self._worker = Worker(runner, self._deliver, clock)

    async def submit(self, call: Call, deadline: float) -> Tensors:
        """Return the outputs for `call`, of one row at least; one of more rows than a batch takes is computed in parts.

        Never waits for room: raises Overloaded if the queue is full, TooLarge if the call would not even fit an empty
        one. Raises DeadlineExceeded if the clock passes `deadline` first, ModelFailed if the model fails and whatever
        PodError its runner raises. Cancelling the caller withdraws what has not begun to be computed.
        """
        rows = len(next(iter(call.inputs.values()))) if self._signatures[call.signature].batches else 1
        if rows > self._batching.max_queue_rows:
            raise TooLarge(f"{rows} rows in one request; at most {self._batching.max_queue_rows} are taken")
        if self.queue_rows + rows > self._batching.max_queue_rows:
            raise Overloaded(f"the model's queue is full: {self.queue_rows} rows wait")
        parts = list(self._parts(call, rows, deadline))
        for part in parts:
            self._waiting.setdefault(part.key, {})[part.number] = part
        self.queue_rows += rows
        self._start_soon()
        try:
            async with asyncio.timeout_at(deadline):
                return _joined([_outputs(await part.answer) for part in parts])
        except TimeoutError:
            raise LATE.kind(LATE.text) from None
        finally:
            for part in parts:
                self._withdraw(part)
                _note(part)

    @property
    def most_rows(self) -> int:
        """The rows that one call may have."""
        return self._batching.max_queue_rows

    @property
    def running_for(self) -> float:
        """Seconds since the batch under way was begun, 0 if there is none."""
        return self._clock() - self._running_since if self._running else 0.0

    def busy_percent(self) -> float:
        """Share of the last 15 s in which the model computed."""
        return self._metrics.busy_percent(self.running_for)

    def close(self) -> None:
        """Let the thread end after the batch under way; whoever still waits runs into his deadline."""
        self._worker.close()

    def _parts(self, call: Call, total: int, deadline: float) -> Iterator[Part]:
        """Cut the call into pieces that fit a batch, or leave it in one piece if it must have its batch for itself."""
        loop, since = asyncio.get_running_loop(), self._clock()
        signature = self._signatures[call.signature]
        shares = self._batching.enabled and signature.batches
        size = self._batching.max_rows if shares else total
        shapes = tuple((name, array.shape[1:]) for name, array in sorted(call.inputs.items()))
        for start in range(0, total, size):
            stop = min(start + size, total)
            number = next(self._numbers)
            yield Part(
                number=number,
                key=(call.signature, shapes) if shares else number,
                signature=call.signature,
                inputs=call.inputs if size >= total else {n: array[start:stop] for n, array in call.inputs.items()},
                rows=stop - start,
                since=since,
                deadline=deadline,
                answer=loop.create_future(),
            )

    def _start_soon(self) -> None:
        """Begin a batch in two turns of the loop: callers just answered send their next request meanwhile."""
        if not (self._starting or self._running) and self._waiting:
            self._starting = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._start)

    def _start(self) -> None:
        self._starting = False
        self._running = self._next_batch()
        if self._running:
            self._running_since = self._clock()
            rows = sum(part.rows for part in self._running)
            for part in self._running:
                part.begun, part.batch_rows = self._running_since, rows
                self._metrics.queue_seconds.observe(self._running_since - part.since)
            self._worker.compute(self._running)

    def _next_batch(self) -> Sequence[Part]:
        """Take the oldest part that waits, and those after it that fit into one batch with it."""
        batch: list[Part] = []
        rows = 0
        while not batch and self._waiting:
            oldest = min(self._waiting.values(), key=lambda parts: next(iter(parts)))
            for part in list(itertools.islice(oldest.values(), self._batching.max_rows)):
                if batch and rows + part.rows > self._batching.max_rows:
                    break
                self._withdraw(part)
                if part.is_wanted(self._clock()):
                    batch.append(part)
                    rows += part.rows
        return batch

    def _withdraw(self, part: Part) -> None:
        """Take a part out of the queue; one that waits no more is left alone."""
        waiting = self._waiting.get(part.key, {})
        if waiting.pop(part.number, None):
            self.queue_rows -= part.rows
            if not waiting:
                del self._waiting[part.key]

    def _deliver(self, batch: Sequence[Part], results: Sequence[Result], runs: Sequence[Run]) -> None:
        """Hand out the results; callers who left are passed over."""
        self._running = ()
        for run in runs:
            self._metrics.computed(run.rows, run.seconds)
        ended = self._clock()
        for part, result in zip(batch, results, strict=True):
            part.ended = ended
            if not part.answer.done():
                part.answer.set_result(result)
        self._start_soon()


def _note(part: Part) -> None:
    """Tell how long the part waited and was computed, as far as it got."""
    note("queue", part.since, part.begun)
    if part.begun is not None:
        note("model", part.begun, part.ended, {"batch_rows": part.batch_rows})


def _outputs(result: Result) -> Tensors:
    if isinstance(result, Failure):
        raise result.kind(result.text)
    return result


def _joined(answers: Sequence[Tensors]) -> Tensors:
    return answers[0] if len(answers) == 1 else {n: concatenate([a[n] for a in answers]) for n in answers[0]}
