"""The recordings and their pinyin, read from the folder of the data set, and which of them are held out."""

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from models.speech.network import RATE

SPEEDS: Final = ("normal", "slow")
HELD_OUT: Final = 200

Samples = NDArray[np.int16]


class Utterance(NamedTuple):
    """A sentence spoken once."""

    name: str
    speed: str
    samples: Samples
    syllables: tuple[str, ...]


def floats(utterance: Utterance) -> NDArray[np.float32]:
    """Return the samples in -1..1."""
    return np.asarray(utterance.samples / np.float32(32768), np.float32)


def read(folder: Path) -> list[Utterance]:
    """Return every recording: `sentences.json` has ids and pinyin, `<speed>.zip` has `<id>.opus`, mono, 16 kHz."""
    sentences = json.loads((folder / "sentences.json").read_text(encoding="utf-8"))
    utterances = []
    for speed in SPEEDS:
        with zipfile.ZipFile(folder / f"{speed}.zip") as archive:
            for sentence in sentences:
                content = io.BytesIO(archive.read(f"{sentence['id']}.opus"))
                samples, rate = soundfile.read(content, dtype="int16")
                if rate != RATE or samples.ndim != 1:
                    raise ValueError(f"{sentence['id']} is not 16 kHz in one channel")
                utterances.append(Utterance(sentence["id"], speed, samples, tuple(sentence["pinyin"].split())))
    return utterances


def split(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """Return what is trained on and what is held out: sentences by the hash of their id, at both speeds.

    A sentence that sounds like a held-out one, syllable by syllable, is neither.
    """
    names = {utterance.name for utterance in utterances}
    kept = set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:HELD_OUT])
    held_out = [utterance for utterance in utterances if utterance.name in kept]
    known = {utterance.syllables for utterance in held_out}
    return [utterance for utterance in utterances if utterance.syllables not in known], held_out
