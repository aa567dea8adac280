"""The versions of one model that are in memory; one that is let go ends with its last request."""

import asyncio
import logging
import math
import weakref
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self

from service import memory
from service.batching.batcher import Batcher
from service.errors import InvalidRequest, NotFound, NotReady
from service.metrics import ModelMetrics
from service.models.daemon import in_daemon
from service.models.folder import Found, Stamp
from service.speech.recogniser import Recogniser
from service.types import Runner, VersionState

_log = logging.getLogger("tfpod.models")


class Model:
    """A version that is ready. Whoever has it compute does so within it, `with model:`, or it may end under him."""

    def __init__(
        self, name: str, found: Found, runner: Runner, batcher: Batcher, recogniser: Recogniser | None = None
    ) -> None:
        self.name, self.number, self.version, self.stamp = name, found.number, str(found.number), found.stamp
        self.signatures, self.platform, self.batcher = runner.signatures, runner.platform, batcher
        self.runner = weakref.ref(runner)
        #: What makes text of a speech model's answers.
        self.recogniser = recogniser
        self._users = 0
        #: Once somebody waits for the last user to leave.
        self._left: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._users += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if self._left and not self._users:
            self._left.set()

    async def unused(self) -> None:
        """Return when nobody is within; nobody may enter any more."""
        self._left = asyncio.Event()
        if self._users:
            await self._left.wait()


class Refusal(NamedTuple):
    """Why a version is not served as it lay there; and when, after which pause, that is tried again, in seconds."""

    stamp: Stamp
    reason: str
    again: float = math.inf
    pause: float = 0.0


class Versions:
    """What is served of the model `name`: the newest version, and those that `labels` name ({label: version})."""

    def __init__(self, name: str, labels: Mapping[str, int], metrics: ModelMetrics) -> None:
        self.name, self.labels, self._metrics = name, labels, metrics
        self.newest: int | None = None
        #: The version that is being loaded.
        self.loading: int | None = None
        self.serving: dict[int, Model] = {}
        self.refused: dict[int, Refusal] = {}
        #: What lies in the folder; nothing before the first look.
        self.numbers: frozenset[int] = frozenset()
        self._leaving: dict[Model, asyncio.Task[None]] = {}
        self._ended: set[int] = set()
        self._dying: list[weakref.ref[Runner]] = []

    @property
    def batchers(self) -> Iterator[Batcher]:
        """Those of the versions that are served, and of those that finish their last requests."""
        return (model.batcher for model in (*self.serving.values(), *self._leaving))

    def get(self, version: int | None = None, label: str | None = None) -> Model:
        """Return the newest version, or another; see Models.get."""
        number = self._number(version, label)
        asked = self.newest if number is None else number
        if asked in self.serving:
            return self.serving[asked]
        starting = self.newest is None and (number in self.numbers or not self.numbers)
        if number is not None and not starting and number != self.loading:
            raise NotFound(f"Servable not found for request: Specific({self.name}, {number})")
        raise NotReady(f"model {self.name!r} is being loaded")

    def states(self, version: int | None = None, label: str | None = None) -> list[VersionState]:
        """Return the states of the versions, newest first, or of one; see Models.states."""
        number = self._number(version, label)
        states = dict.fromkeys(self.numbers if self.newest is None else (), ("START", ""))
        states |= dict.fromkeys(self._ended, ("END", ""))
        states |= {refused: ("END", refusal.reason) for refused, refusal in self.refused.items()}
        states |= {model.number: ("UNLOADING", "") for model in self._leaving}
        states |= {} if self.loading is None else {self.loading: ("LOADING", "")}
        states |= dict.fromkeys(self.serving, ("AVAILABLE", ""))
        if number is not None and number not in states:
            raise NotFound(f"Could not find version {number} of model {self.name}")
        asked = sorted(states, reverse=True) if number is None else [number]
        return [VersionState(self.name, str(found), *states[found]) for found in asked]

    def take(self, model: Model) -> None:
        """Serve a version, instead of what had its number before."""
        self.refused.pop(model.number, None)
        if model.number in self.serving:
            self._let_go(model.number)
        self.serving[model.number] = model

    def switch(self, number: int) -> None:
        """Have a version be the newest, and let go of what nobody can ask for then."""
        self.newest = number
        self._metrics.version.set(number)
        for other in set(self.serving) - {number, *self.labels.values()}:
            self._let_go(other)

    def forget(self, numbers: frozenset[int]) -> None:
        """Take what lies in the folder now, and say no more of what was refused or ended and is not there any more."""
        self.numbers = numbers
        self._ended &= numbers
        self.refused = {number: refusal for number, refusal in self.refused.items() if number in numbers}

    async def give_back(self) -> None:
        """Return the memory of the models that were let go. One that still computes has its turn another time."""
        if self._dying:
            await in_daemon(memory.give_back)
            self._dying = [runner for runner in self._dying if runner() is not None]

    def close(self) -> None:
        """Let all threads end."""
        for task in self._leaving.values():
            task.cancel()
        for batcher in self.batchers:
            batcher.close()

    def _number(self, version: int | None, label: str | None) -> int | None:
        if label is None:
            return version
        if label not in self.labels:
            raise InvalidRequest(f"Unrecognized servable version label: {label}")
        return self.labels[label]

    def _let_go(self, number: int) -> None:
        model = self.serving.pop(number)
        self._leaving[model] = asyncio.create_task(self._unload(model))

    async def _unload(self, model: Model) -> None:
        await model.unused()
        model.batcher.close()
        self._dying.append(model.runner)
        self._ended.add(model.number)
        del self._leaving[model]
        _log.info("model is unloaded", extra={"model": self.name, "version": model.version})
