"""Keeps what is served of one model as it is in its folder: loads what is new there, once it has come to rest."""

import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from service import memory
from service.batching.batcher import Batcher
from service.batching.form import Batching
from service.metrics import ModelMetrics
from service.models import folder
from service.models.daemon import Failed, in_daemon
from service.models.folder import Found
from service.models.versions import Model, Refusal, Versions
from service.speech.recogniser import Recogniser
from service.types import Runner

#: Seconds until a load that failed is tried again, at first and at most: what Kubernetes waits for a container.
_FIRST, _LONGEST = 10.0, 300.0

_log = logging.getLogger("tfpod.models")


class ModelError(Exception):
    """A model cannot be served; the text names it and says why."""


class Reload:
    """Looks into the folder `path` and sees to `versions`. `make` loads and warms a model; it runs in a thread."""

    def __init__(
        self,
        versions: Versions,
        path: Path,
        make: Callable[[Path], tuple[Runner, Batching]],
        metrics: ModelMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._versions, self._path, self._make = versions, path, make
        self._metrics, self._clock = metrics, clock
        self._seen = _Seen(frozenset(), (), ())
        self._trouble = ""

    async def find(self) -> None:
        """Look into the folder for the first time. Raises ModelError if there is nothing to load."""
        try:
            self._seen = await in_daemon(self._look)
        except Failed as failed:
            raise self._error(self._path, str(failed)) from None
        self._versions.forget(self._seen.numbers)

    async def start(self) -> None:
        """Load what was found: versions with labels, then the newest that can be. Raises ModelError.

        An older one, if need be: while a broken one lies there, a new pod has to serve what all others do. If none can
        be, Kubernetes tries again, with a new container.
        """
        versions = self._versions
        for found in self._seen.labelled:
            await self._serves(found)
        for label, number in versions.labels.items():
            if number not in versions.serving:
                reason = versions.refused[number].reason if number in versions.refused else "there is no such version"
                raise self._error(self._path, f"version {number}, labelled {label!r}: {reason}")
        for found in self._seen.newest:
            if await self._serves(found):
                versions.switch(found.number)
                return
        first = self._seen.newest[0]
        raise self._error(first.source or self._path, versions.refused[first.number].reason)

    async def refresh(self) -> None:
        """Look again and serve what is new; what is broken or gone changes nothing.

        If all that is left is older than what is served, that is a wish to go back to it.
        """
        await self._versions.give_back()
        try:
            before, self._seen = self._seen, await in_daemon(self._look)
        except Failed as failed:
            self._mind(str(failed))
            return
        self._versions.forget(self._seen.numbers)
        gone = sorted(set(self._versions.serving) - self._seen.numbers)
        self._mind(f"gone: {', '.join(map(str, gone))}" if gone else "")
        for found in self._seen.newest:
            if found in before.newest and await self._serves(found):
                self._versions.switch(found.number)
                break
        for found in self._seen.labelled:
            if found in before.labelled:
                await self._serves(found)

    def _look(self) -> "_Seen":
        """Look into the folder; in a thread. Raises OSError."""
        there, newest, labels = folder.versions(self._path), self._versions.newest, self._versions.labels
        newer = [number for number in there if newest is None or number >= newest]
        return _Seen(
            frozenset(there),
            tuple(folder.examine(number, there[number]) for number in newer or there),
            tuple(folder.examine(number, there[number]) for number in there if number in labels.values()),
        )

    def _load(self, source: Path) -> tuple[Runner, Batching, Recogniser | None]:
        """Load a model, and what makes text of its answers; in a thread. Raises anything."""
        runner, batching = self._make(source)
        return runner, batching, Recogniser.of(source, runner.signatures)

    async def _serves(self, found: Found) -> bool:
        """Return whether a version is served just as it lies there; load it, if it is time to try that."""
        number, versions = found.number, self._versions
        if number in versions.serving and versions.serving[number].stamp == found.stamp:
            versions.refused.pop(number, None)  # it could not be read for a while
            return True
        refused = versions.refused.get(number)
        last = refused if refused and refused.stamp == found.stamp else None
        begun = self._clock()
        if last and begun < last.again:
            return False
        if found.source is None:
            self._refuse(Refusal(found.stamp, found.why), number)
            return False
        versions.loading = number
        try:
            runner, batching, recogniser = await in_daemon(functools.partial(self._load, found.source))
        except Failed as failed:
            self._metrics.loads["failed"].inc()
            pause = min(2 * last.pause, _LONGEST) if last else _FIRST
            self._refuse(Refusal(found.stamp, str(failed), self._clock() + pause, pause), number)
            await in_daemon(memory.give_back)
            return False
        finally:
            versions.loading = None
        self._metrics.loads["ok"].inc()
        batcher = Batcher(runner, self._metrics, batching)
        versions.take(Model(versions.name, found, runner, batcher, recogniser))
        seconds = round(self._clock() - begun, 3)
        _log.info("model is ready", extra={"model": versions.name, "version": str(number), "seconds": seconds})
        return True

    def _refuse(self, refusal: Refusal, number: int) -> None:
        """Note what is wrong with a version.

        It is tried again when its files have changed; and if loading it failed, after a pause too: what is wrong may be
        with the disk, the network or the memory, and no error says so for sure.
        """
        self._versions.refused[number] = refusal
        extra = {"model": self._versions.name, "version": str(number), "reason": refusal.reason}
        _log.warning("a version cannot be served", extra=extra | ({"again_in": refusal.pause} if refusal.pause else {}))

    def _mind(self, trouble: str) -> None:
        """Tell of the folder, once, when something is wrong with it, and when all is well again."""
        if trouble != self._trouble:
            self._trouble = trouble
            extra = {"model": self._versions.name, "path": str(self._path), "reason": trouble}
            if trouble:
                _log.warning("what is served is not in its folder any more; it stays in memory", extra=extra)
            else:
                _log.info("what is served is in its folder again", extra=extra)

    def _error(self, path: Path, reason: str) -> ModelError:
        return ModelError(f"model {self._versions.name!r} at {path}: {reason}")


class _Seen(NamedTuple):
    """What lay there: all versions' numbers, what may be served as the newest, best first, and what has labels."""

    numbers: frozenset[int]
    newest: tuple[Found, ...]
    labelled: tuple[Found, ...]
