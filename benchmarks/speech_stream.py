"""Speaks for minutes through one session of a pod, and compares what it says with what it says to all of it at once."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import httpx
import numpy as np

from benchmarks.processes import memory
from benchmarks.programs import Program
from benchmarks.speech_audio import Spoken
from models.speech.data import Samples
from models.speech.decode import error_rate
from models.speech.network import RATE

_PCM = {"Content-Type": "audio/pcm"}
#: Waited before a refused piece is sent again, where the pod does not say how long.
_AGAIN = 1.0


class Streamed(NamedTuple):
    """What came of a session: its text, the seconds that each piece took, and how often one was to come again."""

    text: str
    latencies: list[float]
    refused: int


class Comparison(NamedTuple):
    """Audio of so many seconds by a session and at once; memory (PSS) in MiB before and after the session."""

    audio: float
    streamed: Streamed
    before: float
    after: float
    #: Shares of characters: in which both differ, and those that are wrong by a session and at once.
    differ: float
    wrong: float
    wrong_at_once: float


def speech(recordings: Sequence[Spoken], seconds: float) -> tuple[str, Samples]:
    """Return the text and the samples of so many seconds of sentences, one after the other."""
    texts, parts, count = [], list[Samples](), 0
    while count < seconds * RATE:
        spoken = recordings[len(parts) % len(recordings)]
        texts.append(spoken.text)
        parts.append(spoken.samples)
        count += len(spoken.samples)
    return "".join(texts), np.concatenate(parts)


async def compare(
    program: Program, recordings: Sequence[Spoken], seconds: float, piece: float, progress: Callable[[str], None]
) -> Comparison:
    """Speak to a pod in pieces of so many seconds, then at once."""
    right, samples = speech(recordings, seconds)
    base = program.url.removesuffix("/v1/transcribe")
    async with httpx.AsyncClient(base_url=base, timeout=60) as client:
        before = memory(program.process.pid)[1]
        streamed = await stream(client, samples, piece, progress)
        after = memory(program.process.pid)[1]
        answer = (await client.post("/v1/transcribe", content=_pcm(samples), headers=_PCM)).raise_for_status()
    whole = answer.json()["text"]
    differ, wrong, wrong_at_once = (
        error_rate([one], [other]) for one, other in ((whole, streamed.text), (right, streamed.text), (right, whole))
    )
    return Comparison(len(samples) / RATE, streamed, before, after, differ, wrong, wrong_at_once)


async def stream(
    client: httpx.AsyncClient, samples: Samples, piece: float, progress: Callable[[str], None]
) -> Streamed:
    """Speak through one session, each piece as soon as the one before is answered; the last one is empty."""
    final, latencies, refused = "", list[float](), 0
    for number, body in enumerate(_pieces(samples, round(piece * RATE))):
        begun = time.monotonic()
        while (answer := await client.post("/v1/stream", content=body, headers=_numbered(number))).status_code == 429:
            refused += 1
            await asyncio.sleep(float(answer.headers.get("Retry-After", _AGAIN)))
        final += answer.raise_for_status().json()["final"]
        latencies.append(time.monotonic() - begun)
        progress(f"{min(number * piece, len(samples) / RATE):.0f} of {len(samples) / RATE:.0f} s spoken")
    return Streamed(final, latencies, refused)


def _pieces(samples: Samples, size: int) -> Iterator[bytes]:
    for start in range(0, len(samples), size):
        yield _pcm(samples[start : start + size])
    yield b""


def _pcm(samples: Samples) -> bytes:
    return samples.astype("<i2").tobytes()


def _numbered(number: int) -> dict[str, str]:
    return _PCM | {"Tfpod-Sequence": str(number)}
