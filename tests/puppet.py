"""A model whose every run the test sees begin and lets go, and a clock that only the test moves."""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry

from service.batching.batcher import Batcher
from service.batching.form import Batching
from service.metrics import Metrics
from service.types import ELEMENT_TYPES, Call, Signature, Tensors, TensorSpec
from tests.clock import Clock

T = TypeVar("T")
Step = Callable[[Tensors], Tensors]

FLOAT: Final = ELEMENT_TYPES[0]
_ROWS, _PAIR = TensorSpec(FLOAT, (None, None)), TensorSpec(FLOAT, (2,))
SIGNATURES: Final = {
    "double": Signature({"x": _ROWS}, {"y": _ROWS}),
    "negate": Signature({"x": _ROWS}, {"y": _ROWS}),
    "both": Signature({"a": _ROWS, "b": _ROWS}, {"plus": _ROWS, "minus": _ROWS}),
    "pair": Signature({"x": _PAIR}, {"y": _PAIR}),  # has no free first dimension
}


def expected(signature: str, inputs: Tensors) -> dict[str, Any]:
    """Return what the puppet answers unless it is told otherwise."""
    if signature == "both":
        a, b = inputs["a"].astype(np.float32), inputs["b"].astype(np.float32)
        return {"plus": a + b, "minus": a - b}
    return {"y": inputs["x"].astype(np.float32) * (-1 if signature == "negate" else 2)}


@dataclass
class Puppet:
    """A runner. The inputs of a run are in `begun` once it has begun; it ends when the test says `go`."""

    signatures: Mapping[str, Signature] = field(default_factory=lambda: SIGNATURES)
    #: The runs that have begun: signature and copies of the inputs.
    runs: list[tuple[str, Tensors]] = field(default_factory=list)
    platform: str = "none"
    reentrant: bool = False

    def __post_init__(self) -> None:
        """Belong to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._begun: asyncio.Queue[Tensors] = asyncio.Queue()
        self._steps: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        self._free = False

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """Compute as the test says; in the batcher's thread."""
        copies = {name: array.copy() for name, array in inputs.items()}
        self.runs.append((signature, copies))
        self._loop.call_soon_threadsafe(self._begun.put_nowait, copies)
        step = None if self._free else self._steps.get()
        return step(inputs) if step else expected(signature, inputs)

    async def begun(self) -> Tensors:
        """Wait for the next run to begin, and return its inputs."""
        return await asyncio.wait_for(self._begun.get(), 30)

    async def begun_rows(self) -> list[float]:
        """Wait for the next run to begin, and return the first number of each of its rows of `x`."""
        return [float(row[0]) for row in (await self.begun())["x"].astype(np.float32)]

    def go(self, step: Step | None = None) -> None:
        """Let the run under way, or the next one, end: with what `step` returns or raises, else as expected."""
        self._steps.put(step)

    def free(self) -> None:
        """Hold no run any more."""
        self._free = True
        for _ in threading.enumerate():
            self._steps.put(None)


@dataclass
class Stage:
    """A batcher with a puppet."""

    puppet: Puppet
    batcher: Batcher
    clock: Clock
    registry: CollectorRegistry
    tasks: "list[asyncio.Task[Any]]" = field(default_factory=list)

    def submit(self, call: Call, seconds: float = 600.0) -> "asyncio.Task[Tensors]":
        """Begin to submit a call that has so many seconds."""
        return self.spawn(self.batcher.submit(call, asyncio.get_running_loop().time() + seconds))

    def spawn(self, work: "Coroutine[Any, Any, T]") -> "asyncio.Task[T]":
        """Begin a task that ends with the test."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.append(task)
        return task

    async def occupy(self) -> "asyncio.Task[Tensors]":
        """Submit a call and wait until the puppet is busy with it."""
        task = self.submit(double(0))
        await self.puppet.begun()
        return task


@contextlib.asynccontextmanager
async def stage(*, max_batch_rows: int = 4, max_queue_rows: int = 16, **others: Any) -> AsyncIterator[Stage]:
    """Set up a batcher, with `others` of the fields of Batching; at the end its threads must end too."""
    threads = set(threading.enumerate())
    clock, registry, puppet = Clock(time.monotonic()), CollectorRegistry(), Puppet()
    batching = Batching(max_batch_rows, max_queue_rows, **others)
    batcher = Batcher(puppet, Metrics(registry, [], clock).model("m"), batching, clock)
    own = set(threading.enumerate()) - threads
    scene = Stage(puppet, batcher, clock, registry)
    try:
        yield scene
    finally:
        for task in scene.tasks:
            task.cancel()
        await asyncio.gather(*scene.tasks, return_exceptions=True)
        puppet.free()
        batcher.close()
        for thread in own:
            await asyncio.to_thread(thread.join, 30)
        assert not any(thread.is_alive() for thread in own)


def double(*rows: float, width: int = 1, priority: Literal[0, 1] = 0) -> Call:
    """Return a call of `double` with these rows, each `width` times the same number."""
    array: npt.NDArray[np.float32] = np.repeat(np.array(rows, np.float32).reshape(-1, 1), width, axis=1)
    return Call("double", {"x": array}, priority=priority)


def pair(first: float, second: float) -> Call:
    """Return a call of the signature that does not batch."""
    return Call("pair", {"x": np.array([first, second], np.float32)})


def numbers(outputs: Tensors, name: str = "y") -> list[float]:
    """Return an output's numbers, row by row."""
    return [float(number) for number in outputs[name].astype(np.float32).ravel()]


async def turns(count: int = 10) -> None:
    """Let everything that is ready in the loop run, and what that makes ready."""
    for _ in range(count):
        await asyncio.sleep(0)
