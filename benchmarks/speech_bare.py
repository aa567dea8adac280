"""Recognises the WAV files of a folder without a pod, one after the other, on so many processors.

    python -m benchmarks.speech_bare MODEL FOLDER PROCESSORS

For every number of seconds that is written to it, a line, it works for so long and answers with a line: sentences,
seconds of audio, seconds.
"""

import asyncio
import itertools
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks.programs import ROOT
from service.runners.litert import LiteRtRunner
from service.runners.tensorflow import TensorFlowRunner
from service.speech.audio import RATE, from_file
from service.speech.recogniser import Recogniser
from service.types import DEFAULT_SIGNATURE, Runner, Tensors


class Work(NamedTuple):
    """What was done in so many seconds."""

    sentences: int
    audio: float
    seconds: float


class Bare:
    """A context around the program, which is warm when the context is entered."""

    def __init__(self, model: Path, folder: Path, processors: int) -> None:
        self._command = [sys.executable, "-m", "benchmarks.speech_bare", str(model), str(folder), str(processors)]
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        """Start it."""
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=nothing
        )
        await self.work(1)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def work(self, seconds: float) -> Work:
        """Have it work for so many seconds, one sentence at least. Raises RuntimeError if it ends instead."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{seconds}\n".encode())
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._command[1:])} ended with {await self._process.wait()}")
        sentences, *times = line.split()
        return Work(int(sentences), *map(float, times))


async def recognise(model: Path, recordings: Iterator[bytes], processors: int, orders: Iterable[str]) -> None:
    """Work as the orders say, and print what was done."""
    version = model / "1"
    whole = (version / "saved_model.pb").exists()
    runner: Runner = (
        TensorFlowRunner(version, processors) if whole else LiteRtRunner(version / "model.tflite", processors)
    )
    recogniser = Recogniser(version)

    async def compute(inputs: Tensors) -> Tensors:
        return runner.run(DEFAULT_SIGNATURE, inputs)

    for order in orders:
        count, audio, begun = 0, 0.0, time.perf_counter()
        while not count or time.perf_counter() - begun < float(order):
            *_, samples = from_file(next(recordings), math.inf)
            recogniser.read(await recogniser.hear(samples, compute, math.inf))
            count, audio = count + 1, audio + len(samples) / RATE
        print(count, audio, time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    given = sys.argv
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(given[3])])
    files = itertools.cycle([path.read_bytes() for path in sorted(Path(given[2]).glob("*.wav"))])
    asyncio.run(recognise(Path(given[1]), files, int(given[3]), sys.stdin))
