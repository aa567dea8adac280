"""Which models are served, and from which version; each is loaded and warmed before it is called ready."""

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from service.batcher import Batcher
from service.errors import NotFound, NotReady
from service.metrics import Metrics
from service.types import Runner, Signature, Signatures, Tensors

T = TypeVar("T")
Load = Callable[[Path], Runner]

_log = logging.getLogger("tfpod.models")
_VERSION: Final = re.compile(r"[0-9]{1,18}")


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

    def __init__(
        self, paths: Mapping[str, Path], load: Load, metrics: Metrics, *, max_batch_rows: int, max_queue_rows: int
    ) -> None:
        self._paths, self._load, self._metrics = paths, load, metrics
        self._max_batch_rows, self._max_queue_rows = max_batch_rows, max_queue_rows
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

    def get(self, name: str, version: int | None = None) -> Model:
        """Return the model. Raises NotFound if it, or that version, is not served; NotReady while it is loaded."""
        if name not in self._paths:
            raise NotFound(f"Servable not found for request: Latest({name})")
        if name not in self._ready:
            raise NotReady(f"model {name!r} is being loaded")
        model = self._ready[name]
        if version is not None and version != int(model.version):
            raise NotFound(f"Servable not found for request: Specific({name}, {version})")
        return model

    def state(self, name: str, version: int | None = None) -> tuple[str, str]:
        """Return (version, state in TensorFlow Serving's words) of a model. Raises NotFound."""
        try:
            return self.get(name, version).version, "AVAILABLE"
        except NotReady:
            return str(version or 0), "LOADING"

    async def load(self) -> None:
        """Load and warm every model, one after the other. Raises ModelError at the first that cannot be served."""
        for name, path in self._paths.items():
            begun = time.monotonic()
            try:
                version, folder = _newest(path)
                runner = await _in_daemon(functools.partial(self._load_and_warm, folder))
            except Exception as error:
                raise ModelError(f"model {name!r} at {path}: {error}") from error
            batcher = Batcher(
                runner,
                self._metrics.model(name),
                max_batch_rows=self._max_batch_rows,
                max_queue_rows=self._max_queue_rows,
            )
            self._ready[name] = Model(name, version, runner.signatures, batcher)
            seconds = round(time.monotonic() - begun, 3)
            _log.info("model is ready", extra={"model": name, "version": version, "seconds": seconds})

    def close(self) -> None:
        """Let the models' threads end."""
        for model in self._ready.values():
            model.batcher.close()

    def _load_and_warm(self, folder: Path) -> Runner:
        """Load the model and run every signature on zeros, so that no caller pays for what happens once."""
        runner = self._load(folder)
        for name, signature in runner.signatures.items():
            for rows in (1, self._max_batch_rows) if signature.batches else (1,):
                try:
                    runner.run(name, _zeros(signature, rows))
                except Exception as error:  # noqa: BLE001 - zeros need not make sense to a model
                    _log.warning("warm-up failed", extra={"signature": name, "rows": rows, "reason": str(error)[:256]})
        return runner

    def _busy_percent(self) -> float:
        return max((model.batcher.busy_percent() for model in self._ready.values()), default=0.0)


async def _in_daemon(work: Callable[[], T]) -> T:
    """Return what `work` returns, in a thread that does not keep the process from ending, as an executor's would."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(outcome: "concurrent.futures.Future[T]") -> None:
        if not done.done():
            error = outcome.exception()
            done.set_exception(error) if error else done.set_result(outcome.result())

    def run() -> None:
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - it is raised again where it is awaited
            outcome.set_exception(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(finish, outcome)

    threading.Thread(target=run, name="load", daemon=True).start()
    return await done


def _newest(path: Path) -> tuple[str, Path]:
    """Return (version, folder): of TensorFlow Serving's layout the highest number, of a bare SavedModel itself as 1."""
    if not path.is_dir():
        raise FileNotFoundError("there is no such folder")
    if (path / "saved_model.pb").is_file():
        return "1", path
    versions = [folder for folder in path.iterdir() if folder.is_dir() and _VERSION.fullmatch(folder.name)]
    if not versions:
        raise FileNotFoundError("neither a SavedModel nor a folder of numbered versions")
    newest = max(versions, key=lambda folder: int(folder.name))
    return newest.name, newest


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
