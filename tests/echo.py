"""Models for those who serve them: folders that look like SavedModels, and a loader that the test holds up."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from service.batching.form import Batching
from service.metrics import Metrics
from service.models.models import Load, Models
from service.types import ELEMENT_TYPES, Signature, Signatures, Tensors, TensorSpec

FLOAT, STRING = ELEMENT_TYPES[0], ELEMENT_TYPES[-1]
ECHO = {"serving_default": Signature({"x": TensorSpec(FLOAT, (None, 3))}, {"x": TensorSpec(FLOAT, (None, 3))})}


@dataclass
class Echo:
    """A runner that returns its inputs, after `before` has had a look at them."""

    folder: Path
    signatures: Signatures = field(default_factory=lambda: ECHO)
    before: Callable[[str, Tensors], None] = lambda *_: None
    platform: str = "none"
    reentrant: bool = False

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """Answer."""
        self.before(signature, inputs)
        return inputs


@dataclass
class Loader:
    """Loads echoes, but each only when the test says `go`."""

    begun: list[Path] = field(default_factory=list)
    most_at_once: int = 0
    _under_way: int = 0
    _go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, folder: Path) -> Echo:
        self.begun.append(folder)
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        assert self._go.acquire(timeout=60)
        self._under_way -= 1
        return Echo(folder)

    def go(self, times: int = 1) -> None:
        """Let loads end."""
        self._go.release(times)


@contextlib.contextmanager
def models(
    load: Load,
    registry: CollectorRegistry | None = None,
    labels: Mapping[str, Mapping[str, int]] | None = None,
    clock: Callable[[], float] = time.monotonic,
    **paths: Path,
) -> Iterator[Models]:
    """Make the models of these names."""
    metrics = Metrics(registry or CollectorRegistry(), [])
    made = Models(paths, load, metrics, Batching(4, 16), labels, clock=clock)
    try:
        yield made
    finally:
        made.close()


@contextlib.asynccontextmanager
async def loading(made: Models) -> AsyncIterator["asyncio.Task[None]"]:
    """Load in the background."""
    task = asyncio.create_task(made.load())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def saved(folder: Path, *versions: str) -> Path:
    """Make what looks like SavedModels of these versions in `folder`."""
    for version in versions:
        (folder / version).mkdir(parents=True)
        (folder / version / "saved_model.pb").touch()
    return folder


def put(folder: Path, version: str, content: str = "") -> Path:
    """Put a version into `folder`, or change its file."""
    (folder / version).mkdir(parents=True, exist_ok=True)
    (folder / version / "saved_model.pb").write_text(content)
    return folder


def sound(path: Path) -> Echo:
    """Load an echo, unless the file's content says that it is broken."""
    content = (path / "saved_model.pb").read_text()
    if "broken" in content:
        raise OSError(f"the content is {content}")
    return Echo(path)


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came true")
