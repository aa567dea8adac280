"""Measures the recogniser of speech, the pod around it, and ASRT's network beside both, on held-out sentences.

Four tables: the start of a pod until it has recognised a sentence, and its memory (PSS); one processor without a pod;
sentences a second through pods by so many connections, each asking one request after the other, and without a pod, all
in turn; and minutes of speech through one session.

    python -m benchmarks.speech FOLDER [--short]

FOLDER holds the data set as for models.speech.train.
"""

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import uvloop

from benchmarks.client import Connection, Target, post
from benchmarks.processes import memory
from benchmarks.programs import Program, pod
from benchmarks.speech_audio import Spoken, held_out, models
from benchmarks.speech_bare import Bare
from benchmarks.speech_stream import compare

_CONNECTIONS: Final = (1, 4, 16, 64)
#: Seconds of speech in a piece.
_PIECE: Final = 1.0


class Size(NamedTuple):
    """How often, and how long, what is measured is measured."""

    starts: int
    rounds: int
    window: float
    minutes: float


SHORT: Final = Size(1, 1, 1.0, 1.0)
FULL: Final = Size(3, 3, 4.0, 10.0)


class Windows:
    """What was answered to clients, window by window."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.latencies: list[float] = []
        self.failed = 0

    async def measure(self, targets: Sequence[Target], connections: int, seconds: float) -> None:
        """Ask for so many seconds on so many connections."""
        opened = [await Connection.to(targets[0].host, targets[0].port) for _ in range(connections)]
        before, begun, requests = len(self.latencies), time.monotonic(), itertools.cycle(targets)
        await asyncio.gather(*(self._ask(connection, requests, begun + seconds) for connection in opened))
        self.rates.append((len(self.latencies) - before) / (time.monotonic() - begun))
        for connection in opened:
            connection.close()

    async def _ask(self, connection: Connection, requests: Iterator[Target], until: float) -> None:
        while (begun := time.monotonic()) < until:
            if await connection.ask(next(requests).request) == 200:
                self.latencies.append(time.monotonic() - begun)
            else:
                self.failed += 1

    def __str__(self) -> str:
        lost = f", {self.failed} not 200" if self.failed else ""
        ordered = sorted(self.latencies) or [float("nan")]
        p50, p99 = (1000 * ordered[int(share * len(ordered))] for share in (0.5, 0.99))
        return f"{median(self.rates):.1f} ({p50:.0f}, {p99:.0f} ms{lost})"


def speaking(model: Path, recording: Spoken) -> Program:
    """Return a pod with one model, entered when it has recognised a sentence."""
    program = pod({"TFPOD_MODELS": f"speech={model}", "TFPOD_MAX_BODY_BYTES": str(64 << 20)})
    program.url, program.body = program.url.replace("/v1/models/digits:predict", "/v1/transcribe"), recording.wav()
    return program


async def starts(found: dict[str, Path], recording: Spoken, size: Size) -> None:
    """Print how long a pod takes to its first transcript, and what memory it has then."""
    print(_line("start of a pod", "first transcript", "PSS"), _line("---", "---", "---"), sep="\n")
    for name, model in found.items():
        seconds, sizes = [], []
        for number in range(size.starts):
            progress(f"start {number + 1} of {size.starts}")
            begun = time.monotonic()
            async with speaking(model, recording) as program:
                seconds.append(time.monotonic() - begun)
                sizes.append(memory(program.process.pid)[1])
        say(_line(name, f"{median(seconds):.1f} s", f"{median(sizes):.0f} MiB"))
    say()


async def alone(found: dict[str, Path], folder: Path, size: Size) -> None:
    """Print what one processor does without a pod."""
    print(_line("one processor", "a sentence", "share of the audio's time"), _line("---", "---", "---"), sep="\n")
    for name, model in found.items():
        progress(name)
        async with Bare(model, folder, 1) as bare:
            done = [await bare.work(size.window) for _ in range(size.rounds)]
        each = median(work.seconds / work.sentences for work in done)
        say(_line(name, f"{1000 * each:.1f} ms", f"{median(work.seconds / work.audio for work in done):.4f}"))
    say()


async def rates(found: dict[str, Path], folder: Path, recordings: Sequence[Spoken], size: Size) -> None:
    """Print how many sentences a second pods recognise, and the models without one; in every round all are measured."""
    whole, asrt = ([getattr(spoken, form)() for spoken in recordings] for form in ("wav", "asrt"))
    async with AsyncExitStack() as stack:
        targets = {}
        for name, model in found.items():
            program = await stack.enter_async_context(speaking(model, recordings[0]))
            for path, bodies in {"/v1/transcribe": whole, "/speech": asrt}.items():
                url = program.url.replace("/v1/transcribe", path)
                targets[f"{name}, {path}"] = [post(url, body) for body in bodies]
        bare = {
            name: await stack.enter_async_context(Bare(model, folder, _processors())) for name, model in found.items()
        }
        windows = {name: [Windows() for _ in _CONNECTIONS] for name in targets}
        loops: dict[str, list[float]] = {name: [] for name in bare}
        for number in range(size.rounds):
            for name, loop in bare.items():
                work = await loop.work(size.window)
                loops[name].append(work.sentences / work.seconds)
            for (name, asked), (place, connections) in itertools.product(targets.items(), enumerate(_CONNECTIONS)):
                progress(f"round {number + 1} of {size.rounds}: {name}, {connections} connections")
                await windows[name][place].measure(asked, connections, size.window)
    say(_line("sentences a second (p50, p99)", *(f"{count} connections" for count in _CONNECTIONS)))
    print(_line(*["---"] * (1 + len(_CONNECTIONS))))
    for name, measured in windows.items():
        print(_line(name, *map(str, measured)))
    for name, found_rates in loops.items():
        print(_line(f"{name}, no pod", f"{median(found_rates):.1f}", *[""] * (len(_CONNECTIONS) - 1)))
    say()


async def session(model: Path, recordings: Sequence[Spoken], size: Size) -> None:
    """Print what came of minutes of speech through one session."""
    async with speaking(model, recordings[0]) as program:
        found = await compare(program, recordings, 60 * size.minutes, _PIECE, progress)
    ordered = sorted(found.streamed.latencies)
    p50, p99 = (1000 * ordered[int(share * len(ordered))] for share in (0.5, 0.99))
    say(f"One session, {found.audio:.0f} s in pieces of {_PIECE:g} s, each sent when the one before was answered:")
    print(f"{sum(ordered):.1f} s in all; a piece p50 {p50:.0f} ms, p99 {p99:.0f} ms; {found.streamed.refused} refused.")
    print(f"Memory of the pod {found.before:.0f} MiB before, {found.after:.0f} MiB after.")
    print(
        f"Wrong characters {found.wrong:.1%}, of the same audio at once {found.wrong_at_once:.1%};"
        f" both texts differ in {found.differ:.1%} of the characters."
    )


def progress(text: str) -> None:
    """Show what is being done, in place of what was shown before."""
    sys.stderr.write(f"\r{text:80}\r")
    sys.stderr.flush()


def say(text: str = "") -> None:
    """Print a line of the result, in place of the progress."""
    progress("")
    print(text, flush=True)


async def run(found: dict[str, Path], folder: Path, recordings: Sequence[Spoken], size: Size) -> None:
    """Print all tables; `folder` holds the recordings as files."""
    await starts(found, recordings[0], size)
    await alone(found, folder, size)
    await rates(found, folder, recordings, size)
    await session(found["bundled"], recordings, size)


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the data set")
    parser.add_argument("--short", action="store_true", help="an impression, in three minutes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        progress("reading the recordings and making the models")
        folder, recordings = Path(scratch), held_out(given.folder)
        for number, spoken in enumerate(recordings):
            (folder / f"{number:03}.wav").write_bytes(spoken.wav())
        uvloop.run(run(models(folder), folder, recordings, SHORT if given.short else FULL))


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
