"""How long each stage of a request took: noted by those who do the work, kept only if somebody watches."""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final, NamedTuple

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class Stage(NamedTuple):
    """A part of a request's time, by the clock of `time.monotonic`; `facts` are what else is known of it."""

    name: str
    begun: float
    ended: float
    facts: Mapping[str, int]


_watched: Final[ContextVar[list[Stage] | None]] = ContextVar("stages", default=None)
#: What `watch` has returned to this task, None if nobody watches.
watched: Final = _watched.get


def watch() -> list[Stage]:
    """Return a list to which the stages of this task's request are added from now on."""
    stages: list[Stage] = []
    _watched.set(stages)
    return stages


def note(name: str, begun: float, ended: float | None = None, facts: Mapping[str, int] = _NOTHING) -> None:
    """Keep a stage of this task's request, if it is watched; one without an end ends now."""
    stages = _watched.get()
    if stages is not None:
        stages.append(Stage(name, begun, time.monotonic() if ended is None else ended, facts))
