"""What has one model compute, mostly in a thread: batches go in, outputs or failures come out, one for each part."""

import asyncio
import itertools
import logging
import queue
import threading
import traceback
from collections.abc import Callable, Hashable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from service import cpus
from service.errors import DeadlineExceeded, ModelFailed, PodError, TooLarge
from service.stages import note
from service.types import Array, Runner, Signature, Tensors

_log = logging.getLogger("tfpod.worker")
#: An error's text in an answer is cut at so many characters.
_TEXT: Final = 512


class Failure(NamedTuple):
    """What went wrong with a part. Each caller raises an exception of his own: a shared one would tie them together."""

    kind: type[PodError]
    text: str


class Run(NamedTuple):
    """One run of the model, whatever came of it; `padding` rows were added to those of the callers."""

    rows: int
    padding: int
    begun: float
    seconds: float
    failed: bool


Result = Tensors | Failure
LATE: Final = Failure(DeadlineExceeded, "the deadline passed before the model had answered")


class Part(msgspec.Struct, eq=False):
    """A call, or as much of it as fits a batch; parts of the same `key` may share one.

    `size` counts the inputs' bytes, of strings only their places. Of two parts, the one whose turn it is has the lower
    `order`; no two have the same.
    """

    key: Hashable
    order: tuple[float, int]
    signature: str
    inputs: Tensors
    rows: int
    size: int
    priority: int
    since: float
    deadline: float
    answer: asyncio.Future[Result]
    #: Whether others of its key may come to share its batch.
    shares: bool = True
    #: When its batch was begun and ended, and of how many rows that was.
    begun: float | None = None
    ended: float | None = None
    batch_rows: int = 0

    def is_wanted(self, now: float) -> bool:
        """Tell whether somebody still waits for the answer, and in time."""
        return not self.answer.done() and self.deadline > now

    def settle(self, result: "Result") -> None:
        """Tell the caller, if he still waits."""
        if not self.answer.done():
            self.answer.set_result(result)

    def note(self) -> None:
        """Note how long the part waited and was computed, as far as it got."""
        note("queue", self.since, self.begun)
        if self.begun is not None:
            note("model", self.begun, self.ended, {"batch_rows": self.batch_rows})


Deliver = Callable[[Sequence[Part], Sequence[Result], Sequence[Run]], None]


class Worker:
    """Owns `threads` of them. `deliver(batch, results, runs)` is called on the event loop of the batch's futures.

    With `sizes`, in rising order, a batch is filled up to the next of them with copies of its first row.
    """

    def __init__(
        self,
        runner: Runner,
        deliver: Deliver,
        clock: Callable[[], float],
        sizes: Sequence[int] = (),
        threads: int = 1,
    ) -> None:
        self._runner, self._deliver, self._clock, self._sizes, self._threads = runner, deliver, clock, sizes, threads
        self._batches: queue.SimpleQueue[Sequence[Part]] = queue.SimpleQueue()
        for _ in range(threads):
            # A daemon: a model that hangs must not keep the process from ending.
            threading.Thread(target=self._compute_all, name="model", daemon=True).start()

    def compute(self, batch: Sequence[Part]) -> None:
        """Have the parts, all of one key, computed together."""
        self._batches.put(batch)

    def compute_here(self, batch: Sequence[Part]) -> None:
        """Compute the batch before returning, on the event loop: it takes less time than the way to a thread."""
        runs: list[Run] = []
        results = self._results(batch, runs)
        batch[0].answer.get_loop().call_soon(self._deliver, batch, results, runs)

    def close(self) -> None:
        """Let the threads end after the batches they were given."""
        for _ in range(self._threads):
            self._batches.put(())

    def _compute_all(self) -> None:
        cpus.give_way()
        while self._compute_next():
            pass

    def _compute_next(self) -> bool:
        """Compute one batch and return True, or False after the last. No tensor of it outlives this call's frame."""
        batch = self._batches.get()
        if not batch:
            return False
        runs: list[Run] = []
        results = self._results(batch, runs)
        try:
            batch[0].answer.get_loop().call_soon_threadsafe(self._deliver, batch, results, runs)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return False
        return True

    def _results(self, batch: Sequence[Part], runs: list[Run]) -> Sequence[Result]:
        """Return each part's outputs, or what went wrong with it: a part that fails takes no other with it.

        A batch that fails is computed again in halves, so that one offender among n costs about 2 log n runs.
        """
        try:
            return self._run(batch, runs)
        except BaseException as error:  # noqa: BLE001 - a model may raise anything, and its callers wait for word
            if len(batch) == 1:
                return [_failure(error)]
        middle = len(batch) // 2
        return [*self._results_again(batch[:middle], runs), *self._results_again(batch[middle:], runs)]

    def _results_again(self, batch: Sequence[Part], runs: list[Run]) -> Sequence[Result]:
        """Return the results of half a batch without those who left, or are late by now."""
        now = self._clock()
        wanted = [part for part in batch if part.is_wanted(now)]
        results = dict(zip(wanted, self._results(wanted, runs), strict=True)) if wanted else {}
        return [results.get(part, LATE) for part in batch]

    def _run(self, batch: Sequence[Part], runs: list[Run]) -> Sequence[Result]:
        """Compute the batch in one run, noted in `runs`, and return each part's outputs. Raises what the model does."""
        name, rows = batch[0].signature, sum([part.rows for part in batch])
        signature = self._runner.signatures[name]
        # What is missing to the next size; nothing beyond the last, as when batching is off.
        padding = next((size - rows for size in self._sizes if size >= rows), 0) if signature.batches else 0
        inputs = {key: _stacked([part.inputs[key] for part in batch], padding) for key in batch[0].inputs}
        outputs: Tensors | None = None
        begun = self._clock()
        try:
            outputs = self._runner.run(name, inputs)
        finally:
            runs.append(Run(rows, padding, begun, self._clock() - begun, outputs is None))
        _check(outputs, signature, rows + padding)
        if not signature.batches:
            return [{key: outputs[key] for key in signature.outputs}]
        stops = itertools.accumulate([part.rows for part in batch])
        return [
            {key: outputs[key][stop - part.rows : stop] for key in signature.outputs}
            for part, stop in zip(batch, stops, strict=True)
        ]


def concatenate(arrays: Sequence[Array]) -> Array:
    """Return the rows of all arrays, without a copy if there is but one."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def joined(answers: Sequence[Tensors]) -> Tensors:
    """Return the rows of the answers to a call's pieces. Raises TooLarge if those do not fit together."""
    for name in answers[0]:
        shapes = sorted({answer[name].shape[1:] for answer in answers})
        if len(shapes) > 1:
            found = f"{list(shapes[0])} in one batch and {list(shapes[1])} in another"
            raise TooLarge(f"rows of output {name!r} have the shape {found}; ask for fewer rows at once")
    return {name: concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _stacked(arrays: Sequence[Array], padding: int) -> Array:
    return concatenate([*arrays, arrays[0][:1].repeat(padding, 0)] if padding else arrays)


def one_line(error: BaseException) -> str:
    """Return an error's type and text, of a length fit for an answer; also of one that cannot even say what it is."""
    return " ".join("".join(traceback.format_exception_only(error)).split())[:_TEXT]


def _check(outputs: Tensors, signature: Signature, rows: int) -> None:
    """Raise ValueError unless the outputs are what the signature promises, for so many rows."""
    for name, spec in signature.outputs.items():
        array = outputs.get(name)
        if not isinstance(array, np.ndarray) or array.dtype != spec.element.numpy:
            found = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
            raise ValueError(f"output {name!r} is {found} instead of an array of {spec.element.numpy}")
        if signature.batches and array.shape[:1] != (rows,):
            raise ValueError(f"output {name!r} has shape {list(array.shape)} for {rows} rows")


def _failure(error: BaseException) -> Failure:
    """Return what the caller is told: the service's own errors as they are, others by their name."""
    if isinstance(error, PodError):
        kind, text = type(error), str(error)
    else:
        kind, text = ModelFailed, f"the model failed: {one_line(error)}"
    if kind is ModelFailed:
        _log.warning("the model failed", exc_info=error)
    return Failure(kind, text)
