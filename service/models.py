"""Which models are served, and from which version; each is loaded and warmed before it is called ready."""

import asyncio
import contextlib
import functools
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np

from service.batcher import Batcher, Batching
from service.errors import InvalidRequest, NotFound, NotReady
from service.metrics import Metrics
from service.types import Runner, Signature, Signatures, Tensors, VersionState
from service.worker import one_line

T = TypeVar("T")
Load = Callable[[Path], Runner]

_log = logging.getLogger("tfpod.models")
_VERSION: Final = re.compile(r"[0-9]{1,18}")
_SAVED_MODEL: Final = "saved_model.pb"


class ModelError(Exception):
    """A model cannot be served; the text names it and says why."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is ready."""

    name: str
    version: str
    signatures: Signatures
    batcher: Batcher


class Models:
    """The models by name. `load` makes a runner of a SavedModel's folder; it runs off the event loop."""

    def __init__(self, paths: Mapping[str, Path], load: Load, metrics: Metrics, batching: Batching) -> None:
        self._paths, self._load, self._metrics, self._batching = paths, load, metrics, batching
        self._found: dict[str, _Version] = {}
        self._ready: dict[str, Model] = {}
        metrics.watch("tfpod_queue_rows", lambda: sum(m.batcher.queue_rows for m in self._ready.values()))
        metrics.watch("tfpod_model_busy_percent", self._busy_percent)

    @property
    def names(self) -> list[str]:
        """The models that are served, or will be."""
        return list(self._paths)

    @property
    def ready(self) -> bool:
        """True once every model is ready."""
        return len(self._ready) == len(self._paths)

    def stuck_for(self) -> float:
        """Seconds that the longest batch under way has taken so far."""
        return max((model.batcher.running_for for model in self._ready.values()), default=0.0)

    def get(self, name: str, version: int | None = None, label: str | None = None) -> Model:
        """Return the model. Raises NotFound if it, or that version, is not served; NotReady while it is loaded."""
        if label is not None:
            raise InvalidRequest(f"Unrecognized servable version label: {label}")
        if name not in self._paths:
            raise NotFound(f"Servable not found for request: Latest({name})")
        found = self._found.get(name)
        if found and version not in (None, int(found.name)):
            raise NotFound(f"Servable not found for request: Specific({name}, {version})")
        if name not in self._ready:
            raise NotReady(f"model {name!r} is being loaded")
        return self._ready[name]

    def state(self, name: str, version: int | None = None) -> tuple[str, str]:
        """Return (version, state in TensorFlow Serving's words) of a model; unknown is version 0. Raises NotFound."""
        try:
            return self.get(name, version).version, "AVAILABLE"
        except NotReady:
            found = self._found.get(name)
            return found.name if found else str(version or 0), "LOADING"

    def states(self, name: str, version: int | None = None, label: str | None = None) -> list[VersionState]:
        """Return what is to be said of each version of a model, newest first, or of one of them. Raises as `get` does,
        but tells of a version that is not ready instead of raising NotReady.
        """
        if label is not None:
            self.get(name, version, label)
        return [VersionState(name, *self.state(name, version))]

    def index(self) -> list[VersionState]:
        """Return what is to be said of each version of each model."""
        return [state for name in self.names for state in self.states(name)]

    async def load(self) -> None:
        """Find the newest version of every model, then load and warm one after the other.

        Raises ModelError for the first that cannot be served.
        """
        for name, path in self._paths.items():
            self._found[name] = await _in_daemon(f"model {name!r} at {path}", functools.partial(_newest, path))
        for name, found in self._found.items():
            begun = time.monotonic()
            load = functools.partial(self._load_and_warm, found.folder)
            runner = await _in_daemon(f"model {name!r} at {found.folder}", load)
            batcher = Batcher(runner, self._metrics.model(name), self._batching)
            self._ready[name] = Model(name, found.name, runner.signatures, batcher)
            seconds = round(time.monotonic() - begun, 3)
            _log.info("model is ready", extra={"model": name, "version": found.name, "seconds": seconds})

    def close(self) -> None:
        """Let the models' threads end."""
        for model in self._ready.values():
            model.batcher.close()

    def _load_and_warm(self, folder: Path) -> Runner:
        """Load the model and run every signature on zeros, so that no caller pays for what happens once."""
        runner = self._load(folder)
        for name, signature in runner.signatures.items():
            for rows in (1, self._batching.max_rows) if signature.batches else (1,):
                try:
                    runner.run(name, _zeros(signature, rows))
                except Exception as error:  # noqa: BLE001 - zeros need not make sense to a model
                    _log.warning("warm-up failed", extra={"signature": name, "rows": rows, "reason": one_line(error)})
        return runner

    def _busy_percent(self) -> float:
        return max((model.batcher.busy_percent() for model in self._ready.values()), default=0.0)


class _Version(NamedTuple):
    """A version's number, without leading zeros, and its SavedModel."""

    name: str
    folder: Path


async def _in_daemon(what: str, work: Callable[[], T]) -> T:
    """Return what `work` returns; its thread does not keep the process from ending, as an executor's would.

    Raises ModelError, which says that it is about `what`, for whatever `work` raises.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(settle: Callable[[], None]) -> None:
        if not done.done():  # it is, if the caller was cancelled
            settle()

    def run() -> None:
        settle: Callable[[], None]
        try:
            settle = functools.partial(done.set_result, work())
        except BaseException as error:  # noqa: BLE001 - somebody waits for word of it
            failure = ModelError(f"{what}: {one_line(error)}")
            failure.__cause__ = error
            settle = functools.partial(done.set_exception, failure)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(finish, settle)

    threading.Thread(target=run, name="load", daemon=True).start()
    return await done


def _newest(path: Path) -> _Version:
    """Find the highest number in TensorFlow Serving's layout; a bare SavedModel is version 1. Raises OSError.

    A version without its saved_model.pb is one that is still being copied: the one before it is no answer to that.
    """
    if not path.is_dir():
        raise FileNotFoundError("there is no such folder")
    if (path / _SAVED_MODEL).is_file():
        return _Version("1", path)
    folders = [folder for folder in path.iterdir() if _VERSION.fullmatch(folder.name) and folder.is_dir()]
    if not folders:
        raise FileNotFoundError("neither a SavedModel nor a folder of numbered versions")
    newest = max(folders, key=lambda folder: (int(folder.name), folder.name))
    if not (newest / _SAVED_MODEL).is_file():
        raise FileNotFoundError(f"version {newest.name} has no {_SAVED_MODEL}: it is not complete")
    return _Version(str(int(newest.name)), newest)


def _zeros(signature: Signature, rows: int) -> Tensors:
    """Return inputs of `rows` rows, each other free dimension 1 long; strings are empty."""
    return {
        name: np.full(
            [rows if axis == 0 and size is None else size or 1 for axis, size in enumerate(spec.shape or ())],
            b"" if spec.element.is_string else 0,
            dtype=spec.element.numpy,
        )
        for name, spec in signature.inputs.items()
    }
