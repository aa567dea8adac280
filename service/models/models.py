"""The models of the pod, by name: each is loaded and warmed before it is called ready, and kept as it is on disk."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from service.batching.batcher import Batcher
from service.batching.form import Batching
from service.errors import NotFound, NotReady
from service.metrics import Metrics
from service.models.reload import ModelError, Reload
from service.models.versions import Model, Versions
from service.models.warmup import warm
from service.speech.recogniser import Recogniser
from service.types import Runner, VersionState

__all__ = ["Load", "Model", "ModelError", "Models"]

Load = Callable[[Path], Runner]
Labels = Mapping[str, Mapping[str, int]]

#: Seconds that a model waits for another one to be loaded.
_PATIENCE: Final = 300.0

_log = logging.getLogger("tfpod.models")


class Models:
    """The models by name. `load` makes a runner of a SavedModel's folder or a .keras file, off the event loop.

    `labels` are other names of versions: {model: {label: version}}.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        load: Load,
        metrics: Metrics,
        batching: Batching,
        labels: Labels | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load, self._batching, self._one_at_a_time = load, batching, threading.Lock()
        self._versions: dict[str, Versions] = {}
        self._reloads: dict[str, Reload] = {}
        for name, path in paths.items():
            of_model = metrics.model(name)
            self._versions[name] = Versions(name, (labels or {}).get(name, {}), of_model)
            self._reloads[name] = Reload(self._versions[name], path, self._load_and_warm, of_model, clock=clock)
        metrics.watch("tfpod_queue_rows", lambda: sum(batcher.queue_rows for batcher in self._batchers()))
        metrics.watch("tfpod_queue_bytes", lambda: sum(batcher.queue_bytes for batcher in self._batchers()))
        metrics.watch("tfpod_model_running_seconds", self.stuck_for)
        metrics.watch("tfpod_model_busy_percent", lambda: max((b.busy_percent() for b in self._batchers()), default=0))

    @property
    def names(self) -> list[str]:
        """The models that are served, or will be."""
        return list(self._versions)

    @property
    def ready(self) -> bool:
        """True once every model is ready."""
        return all(versions.newest is not None for versions in self._versions.values())

    def stuck_for(self) -> float:
        """Seconds that the longest batch under way has taken so far."""
        return max((batcher.running_for for batcher in self._batchers()), default=0.0)

    def get(self, name: str, version: int | None = None, label: str | None = None) -> Model:
        """Return a model's newest version, or the one with that number, or that label.

        Raises NotFound if it is not served, InvalidRequest if there is no such label, NotReady while it is loaded; all
        three in TensorFlow Serving's words.
        """
        if name not in self._versions:
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise NotFound(f"Servable not found for request: {asked}")
        return self._versions[name].get(version, label)

    def speech(self, name: str | None = None) -> tuple[Model, Recogniser]:
        """Return the model of speech of that name, or the first.

        Raises NotFound if there is none, NotReady while there may yet be one.
        """
        if name is not None and self.get(name).recogniser is None:
            raise NotFound(f"model {name!r} is none of speech")
        for versions in self._versions.values() if name is None else [self._versions[name]]:
            model = versions.serving.get(versions.newest or 0)
            if model and model.recogniser:
                return model, model.recogniser
        if not self.ready:
            raise NotReady("models are being loaded")
        raise NotFound("no model of speech is served here")

    def states(self, name: str, version: int | None = None, label: str | None = None) -> list[VersionState]:
        """Return the states of a model's versions, newest first, or of one of them. Raises as `get` does, but NotReady.

        Versions that were never in memory are passed over, unless it was tried.
        """
        if name not in self._versions:
            raise NotFound(f"Could not find any versions of model {name}")
        return self._versions[name].states(version, label)

    def index(self) -> list[VersionState]:
        """Return the states of all versions of all models."""
        return [state for name in self._versions for state in self.states(name)]

    async def load(self) -> None:
        """Look for all models, then load and warm one after the other. Raises ModelError if one cannot be served."""
        for reload in self._reloads.values():
            await reload.find()
        for reload in self._reloads.values():
            await reload.start()

    async def refresh(self) -> None:
        """Look once for what is new."""
        await asyncio.gather(*(reload.refresh() for reload in self._reloads.values()))

    async def watch(self, seconds: float) -> None:
        """Look every so many seconds for what is new; a folder that hangs, as network's do, is no other's trouble.

        By polling: no file system over a network tells of what another machine changes.
        """
        async with asyncio.TaskGroup() as tasks:
            for reload in self._reloads.values():
                tasks.create_task(_watch(reload, seconds))

    def close(self) -> None:
        """Let the models' threads end."""
        for versions in self._versions.values():
            versions.close()

    def _load_and_warm(self, path: Path) -> tuple[Runner, Batching]:
        """Load a model; one at a time, so that memory is needed for what is served and one more.

        But what hangs, as a network's disk may, is not waited for by the others for ever.
        """
        alone = self._one_at_a_time.acquire(timeout=_PATIENCE)
        if not alone:
            _log.warning("a model is loaded although another one still is", extra={"path": str(path)})
        try:
            runner = self._load(path)
            return runner, warm(runner, self._batching)
        finally:
            if alone:
                self._one_at_a_time.release()

    def _batchers(self) -> list[Batcher]:
        return [batcher for versions in self._versions.values() for batcher in versions.batchers]


async def _watch(reload: Reload, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await reload.refresh()
        except Exception:  # noqa: BLE001 - what is served does not depend on it
            _log.exception("cannot look for new versions")
