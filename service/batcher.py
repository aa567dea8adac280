"""Forms batches of the calls that wait, has them computed one at a time, and hands each caller its rows.

The batcher lives on the event loop and owns one thread, in which the model computes. It goes when the thread is free:
under load batches grow by themselves, and a lonely call waits for nobody.
"""

import asyncio
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from service.errors import DeadlineExceeded, ModelFailed, Overloaded, PodError, TooLarge
from service.metrics import ModelMetrics
from service.types import Array, Call, Runner, Tensors

_log = logging.getLogger("tfpod.batcher")


class Batcher:
    """One model's queue and its thread. Use it from one event loop; `clock` counts seconds, as deadlines do."""

    def __init__(
        self,
        runner: Runner,
        metrics: ModelMetrics,
        *,
        max_batch_rows: int,
        max_queue_rows: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner, self._metrics, self._clock = runner, metrics, clock
        self.max_batch_rows, self.max_queue_rows = max_batch_rows, max_queue_rows
        self.queue_rows = 0
        self._waiting: dict[Hashable, dict[int, _Part]] = {}
        self._running: Sequence[_Part] = ()
        self._running_since = 0.0
        self._starting = False
        self._numbers = itertools.count()
        self._work: queue.SimpleQueue[Sequence[_Part]] = queue.SimpleQueue()
        # A daemon: a model that hangs must not keep the process from ending.
        threading.Thread(target=self._compute_all, name="model", daemon=True).start()

    async def submit(self, call: Call, deadline: float) -> Tensors:
        """Return the outputs for `call`; a call of more rows than a batch takes is computed in parts.

        Never waits for room: raises Overloaded if the queue is full, TooLarge if the call would not even fit an empty
        one. Raises DeadlineExceeded if the clock passes `deadline` first, ModelFailed if the model fails.
        Cancelling the caller withdraws what has not begun to be computed.
        """
        parts = list(self._parts(call, deadline))
        rows = sum(part.rows for part in parts)
        if rows > self.max_queue_rows:
            raise TooLarge(f"{rows} rows in one request; at most {self.max_queue_rows} are taken")
        if self.queue_rows + rows > self.max_queue_rows:
            raise Overloaded(f"the model's queue is full: {self.queue_rows} rows wait")
        for part in parts:
            self._waiting.setdefault(part.key, {})[part.number] = part
        self.queue_rows += rows
        self._start_soon()
        try:
            async with asyncio.timeout_at(deadline):
                return _joined([_outputs(await part.answer) for part in parts])
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed before the model had answered") from None
        finally:
            for part in parts:
                self._withdraw(part)

    @property
    def running_for(self) -> float:
        """Seconds since the batch under way was begun, 0 if there is none."""
        return self._clock() - self._running_since if self._running else 0.0

    def busy_percent(self) -> float:
        """Share of the last 15 s in which the model computed."""
        return self._metrics.busy_percent(self.running_for)

    def close(self) -> None:
        """Let the thread end after the batch under way; whoever still waits runs into his deadline."""
        self._work.put(())

    def _parts(self, call: Call, deadline: float) -> "Iterator[_Part]":
        """Cut the call into pieces that fit a batch; a signature without a free first dimension is one piece."""
        loop, since = asyncio.get_running_loop(), self._clock()
        batches = self._runner.signatures[call.signature].batches
        total = len(next(iter(call.inputs.values()))) if batches else 1
        shapes = tuple((name, array.shape[1:]) for name, array in sorted(call.inputs.items()))
        for start in range(0, total, self.max_batch_rows):
            stop = min(start + self.max_batch_rows, total)
            whole = not batches or stop - start == total
            number = next(self._numbers)
            yield _Part(
                number=number,
                key=(call.signature, shapes) if batches else number,
                signature=call.signature,
                inputs=call.inputs if whole else {n: array[start:stop] for n, array in call.inputs.items()},
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
            for part in self._running:
                self._metrics.queue_seconds.observe(self._running_since - part.since)
            self._work.put(self._running)

    def _next_batch(self) -> "Sequence[_Part]":
        """Take the oldest part that waits, and those after it that fit into one batch with it."""
        batch: list[_Part] = []
        rows = 0
        while not batch and self._waiting:
            oldest = min(self._waiting.values(), key=lambda parts: next(iter(parts)))
            for part in list(oldest.values()):
                if rows + part.rows > self.max_batch_rows:
                    break
                self._withdraw(part)
                if part.deadline > self._clock():
                    batch.append(part)
                    rows += part.rows
        return batch

    def _withdraw(self, part: "_Part") -> None:
        """Take a part out of the queue; one that waits no more is left alone."""
        waiting = self._waiting.get(part.key, {})
        if waiting.pop(part.number, None):
            self.queue_rows -= part.rows
            if not waiting:
                del self._waiting[part.key]

    def _compute_all(self) -> None:
        """Compute batch after batch, until an empty one; the body of the thread."""
        while batch := self._work.get():
            results = self._compute(batch)
            try:
                batch[0].answer.get_loop().call_soon_threadsafe(self._deliver, batch, results)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _compute(self, batch: "Sequence[_Part]") -> "list[Tensors | PodError]":
        """Return each part's outputs, or what went wrong with it: a part that fails takes no other with it."""
        inputs = {name: _concatenate([part.inputs[name] for part in batch]) for name in batch[0].inputs}
        rows = sum(part.rows for part in batch)
        begun = self._clock()
        try:
            outputs = self._runner.run(batch[0].signature, inputs)
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            if len(batch) > 1:
                return [self._compute([part])[0] for part in batch]
            _log.warning("the model raised", exc_info=error)
            return [ModelFailed(f"the model failed: {_one_line(error)}")]
        self._metrics.computed(rows, self._clock() - begun)
        if len(batch) == 1 and not self._runner.signatures[batch[0].signature].batches:
            return [outputs]
        wrong = [f"{name}: {array.shape}" for name, array in outputs.items() if array.shape[:1] != (rows,)]
        if wrong:
            return [ModelFailed(f"the model answered {rows} rows with outputs of shape {', '.join(wrong)}")] * len(
                batch
            )
        stops = list(itertools.accumulate(part.rows for part in batch))
        return [
            {name: array[stop - part.rows : stop] for name, array in outputs.items()}
            for part, stop in zip(batch, stops, strict=True)
        ]

    def _deliver(self, batch: "Sequence[_Part]", results: "list[Tensors | PodError]") -> None:
        """Hand out the results, on the event loop; callers who left are passed over."""
        self._running = ()
        for part, result in zip(batch, results, strict=True):
            if not part.answer.done():
                part.answer.set_result(result)
        self._start_soon()


@dataclass(slots=True)
class _Part:
    """A call, or as much of it as fits a batch. `number` counts arrivals; parts of the same `key` may share a batch."""

    number: int
    key: Hashable
    signature: str
    inputs: Tensors
    rows: int
    since: float
    deadline: float
    answer: "asyncio.Future[Tensors | PodError]"


def _outputs(result: Tensors | PodError) -> Tensors:
    if isinstance(result, PodError):
        raise result
    return result


def _concatenate(arrays: Sequence[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _joined(answers: Sequence[Tensors]) -> Tensors:
    return answers[0] if len(answers) == 1 else {n: _concatenate([a[n] for a in answers]) for n in answers[0]}


def _one_line(error: Exception) -> str:
    """Return the first line of a model's error, of a length fit for an answer."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:256]
