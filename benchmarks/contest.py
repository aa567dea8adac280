"""Servers that are alive together, and one of them runs at a time: the others are stopped, so that none disturbs it."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from benchmarks import wrk
from benchmarks.client import Target
from benchmarks.environments import InstallError
from benchmarks.peers.table import Contender, target
from benchmarks.programs import Program
from benchmarks.results import Window
from benchmarks.workloads import Workload

Say = Callable[[str], None]
#: Seconds that a server has to itself before its window, and of load that do not count: the memory of one that was
#: stopped may have gone cold.
_WAKE, _WARM = 0.2, 1
#: Seconds after it, at most, in which it ends what is in flight, and how busy it may be when it is stopped: one that
#: times its batches would take the stop for a batch of half a minute, and wait accordingly ever after.
_SETTLE, _LOOK, _IDLE = 3.0, 0.2, 0.1


class Contest:
    """Running servers by name, all stopped but the one that is measured."""

    def __init__(self, programs: dict[str, Program], errors: dict[str, str], say: Say) -> None:
        self._programs = programs
        self._errors = errors
        self._say = say

    @classmethod
    @asynccontextmanager
    async def of(
        cls, contenders: Iterable[Contender], workload: Workload, errors: dict[str, str], say: Say
    ) -> "AsyncIterator[Contest]":
        """Start all, one after the other; who does not start is named in `errors`, with what it said."""
        async with AsyncExitStack() as stack:
            programs = {}
            for contender in contenders:
                if contender.name in errors:
                    continue
                say(f"start {contender.name}")
                try:
                    program = await stack.enter_async_context(contender.program(workload))
                except (RuntimeError, InstallError) as error:
                    errors[contender.name] = str(error)
                    say(f"{contender.name} does not start: {error}")
                    continue
                program.tree.send(signal.SIGSTOP)
                programs[contender.name] = program
            yield cls(programs, errors, say)

    async def round(self, number: int, connections: int, seconds: int) -> list[Window]:
        """Measure each once, in an order that chance gives."""
        names = list(self._programs)
        random.Random(f"{number} {connections}").shuffle(names)
        found = []
        for name in names:
            try:
                found.append(await self.window(name, number, connections, seconds))
            except RuntimeError as error:
                self._errors[name] = str(error)
                self._say(f"{name} fails: {error}")
                del self._programs[name]
        rates = "; ".join(f"{window.name} {window.rate:.0f}" for window in sorted(found, key=_by_rate))
        self._say(f"{connections} connections, round {number + 1}: {rates}")
        return found

    async def window(self, name: str, number: int, connections: int, seconds: int, at: Target | None = None) -> Window:
        """Measure one for so many seconds. Raises RuntimeError if that fails, or it has failed before."""
        if name not in self._programs:
            raise RuntimeError(f"{name} does not run: {self._errors.get(name)}")
        program = self._programs[name]
        async with self.awake(name):
            await wrk.load(at or target(program), connections, _WARM)
            before = program.tree.cpu()
            figures = await wrk.load(at or target(program), connections, seconds)
            cpu = program.tree.cpu() - before
        answers = max(1.0, figures.rate * seconds)
        return Window(name, connections, number, *figures, cpu=1000 * cpu / answers)

    @asynccontextmanager
    async def awake(self, name: str) -> AsyncIterator[Program]:
        """Let one run, and hand it over."""
        program = self._programs[name]
        program.tree.send(signal.SIGCONT)
        await asyncio.sleep(_WAKE)
        try:
            yield program
        finally:
            await _settled(program)
            program.tree.send(signal.SIGSTOP)

    @property
    def names(self) -> Sequence[str]:
        """Who runs."""
        return list(self._programs)


async def _settled(program: Program) -> None:
    """Return once a program computes next to nothing, or has had its time."""
    before = program.tree.cpu()
    for _ in range(round(_SETTLE / _LOOK)):
        await asyncio.sleep(_LOOK)
        now = program.tree.cpu()
        if now - before < _IDLE * _LOOK:
            return
        before = now


def _by_rate(window: Window) -> float:
    return -window.rate
