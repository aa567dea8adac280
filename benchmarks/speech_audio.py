"""What the benchmark of speech recognises, held-out sentences, and by which models."""

import base64
import io
import json
import shutil
import wave
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from benchmarks.programs import ROOT
from models.asrt import convert, network
from models.speech import data, sentences
from models.speech.labels import BLANK, SYLLABLES, TONES
from models.speech.network import RATE

BUNDLED: Final = ROOT / "models/speech"
#: Of SpeechModel251BN.
_LABELS: Final = 1427


class Spoken(NamedTuple):
    """A sentence and its recording, at 16 kHz."""

    text: str
    samples: data.Samples

    def wav(self) -> bytes:
        """Return the recording as a WAV file."""
        content = io.BytesIO()
        with wave.open(content, "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(self.samples.astype("<i2").tobytes())
        return content.getvalue()

    def asrt(self) -> bytes:
        """Return the recording as ASRT's clients send it."""
        samples = base64.b64encode(self.samples.astype("<i2").tobytes()).decode()
        return json.dumps({"samples": samples, "sample_rate": RATE, "channels": 1, "byte_width": 2}).encode()


def held_out(folder: Path) -> list[Spoken]:
    """Return the recordings that no training has heard, at both speeds, in an order of no meaning."""
    texts = {sentence.name: sentence.characters() for sentence in sentences.read(folder)[1]}
    recordings = data.split(data.read(folder))[1]
    order = np.random.default_rng(0).permutation(len(recordings))
    return [Spoken(texts[recordings[number].name], recordings[number].samples) for number in order]


def models(folder: Path) -> dict[str, Path]:
    """Return the models by name; those that are not bundled are made in `folder`.

    The weights of SpeechModel251BN are random, which makes no difference to its speed.
    """
    found = {"bundled": BUNDLED, "bundled, LiteRT": folder / "litert", "SpeechModel251BN": folder / "251bn"}
    shutil.copytree(BUNDLED / "1", found["bundled, LiteRT"] / "1", ignore=shutil.ignore_patterns("*.pb", "variables"))
    labels = [syllable + tone for syllable in SYLLABLES for tone in TONES][:_LABELS]
    weights = network.initial_weights(_LABELS + 1, 0)
    words = BUNDLED / "1/assets.extra/language.npz"
    convert.export(weights, [*labels, BLANK], found["SpeechModel251BN"] / "1", words)
    return found
