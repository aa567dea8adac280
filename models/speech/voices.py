"""Sentences of syllables that are rare or absent in the recordings, spoken by espeak-ng."""

import io
import shutil
import subprocess
import wave
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from models.speech.augment import Random, at_speed
from models.speech.data import Utterance
from models.speech.labels import SYLLABLES
from models.speech.network import RATE

PROGRAM: Final = "espeak-ng"
VARIANTS: Final = (
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "Annie",
    "belinda",
    "linda",
    "steph",
    "m1",
    "m3",
    "m7",
    "klatt2",
    "Alex",
)
_UNSPEAKABLE: Final = ("ê", "r", "hng")


def spoken(count: int, random: Random) -> list[Utterance]:
    """Return so many sentences of three to six random syllables, all tones, each in a random voice.

    Raises OSError if there is no espeak-ng, which the Debian package of that name installs.
    """
    if not shutil.which(PROGRAM):
        raise FileNotFoundError(f"{PROGRAM} is not installed (apt-get install {PROGRAM})")
    choice = [syllable + tone for syllable in SYLLABLES if syllable not in _UNSPEAKABLE for tone in "1234"]
    sentences = [
        (
            tuple(str(syllable) for syllable in random.choice(choice, random.integers(3, 7))),
            str(random.choice(VARIANTS)),
            ["-s", str(random.integers(140, 220)), "-p", str(random.integers(25, 75))],
        )
        for _ in range(count)
    ]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda sentence: _spoken(*sentence), sentences))


def _spoken(syllables: tuple[str, ...], variant: str, options: list[str]) -> Utterance:
    command = [PROGRAM, "-v", f"cmn-latn-pinyin+{variant}", *options, "--stdout", " ".join(syllables)]
    content = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 - no word of it is foreign
    with wave.open(io.BytesIO(content)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32)
        samples = at_speed(samples, file.getframerate() / RATE)
    return Utterance("", PROGRAM, samples.astype(np.int16), syllables)
