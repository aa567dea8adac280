"""The bare model in a loop as something to compare with: a process of its own that waits between its windows."""

import asyncio
from typing import Final, Self

import msgspec

from benchmarks.environments import environment
from benchmarks.peers.table import LITE_MODELS, MODELS, threads
from benchmarks.programs import ROOT, clean
from benchmarks.workloads import Workload

_RUNTIMES: Final = {"tensorflow": ("cpu", MODELS), "litert": ("litert", LITE_MODELS)}


class Speed(msgspec.Struct):
    """What a loop did."""

    rows: float  # a second
    microseconds: float  # of a call, the median


class Loop:
    """An asynchronous context around benchmarks.peers.loop; `threads` as those of a workload."""

    def __init__(self, runtime: str, workload: Workload, threads: int = 0) -> None:
        name, models = _RUNTIMES[runtime]
        folder, shape = workload.folder(models) / "1", ",".join(map(str, workload.shape))
        self._command = [str(environment(name)), "-m", "benchmarks.peers.loop", runtime, str(folder), shape]
        self._threads = threads
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        """Start, and load the model."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=ROOT, env=clean(threads(self._threads)),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await self._line()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        await self._process.wait()

    async def measure(self, batch: int, seconds: float, how: str = "signature") -> Speed:
        """Call with batches of so many rows for a while."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{how} {batch} {seconds}\n".encode())
        await self._process.stdin.drain()
        return msgspec.json.decode(await self._line(), type=Speed)

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        if line := await self._process.stdout.readline():
            return line
        raise RuntimeError(f"the bare loop ended with {await self._process.wait()}")
