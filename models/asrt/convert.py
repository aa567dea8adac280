"""Makes a model to serve of ASRT's weights and dictionary.

    python -m models.asrt.convert SpeechModel251bn.model.base.h5 dict.txt asrt/1 --language language.npz

writes a SavedModel to the folder `asrt/1`; `TFPOD_MODELS=speech=asrt python -m service` serves it.
"""

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from zipfile import BadZipFile, is_zipfile

import tensorflow as tf

from models.asrt import network
from models.asrt.weights import read
from models.speech.labels import BLANK
from service.speech.language import Language

_PINYIN: Final = re.compile(r"[a-zêü]+[1-5]")


def convert(weights: Path, dictionary: Path, target: Path, language: Path | None = None) -> list[str]:
    """Write the SavedModel and what a recogniser reads beside it, and return its labels.

    Raises OSError, or ValueError for a file that is not what it should be; then nothing was written.
    """
    labels = read_labels(dictionary)
    found = read(weights, len(labels))
    if language:
        _check(language)
    export(found, labels, target, language)
    return labels


def read_labels(dictionary: Path) -> list[str]:
    """Return the labels: the first column of each line of the dictionary, `zhong1`, and the blank.

    A pinyin may stand there twice, as `heng5` does. Raises OSError, or ValueError with the first line that is none.
    """
    lines = dictionary.read_text(encoding="utf-8-sig", errors="replace").rstrip().split("\n")
    labels = [line.split("\t")[0].strip() for line in lines]
    for number, label in enumerate(labels, 1):
        if not _PINYIN.fullmatch(label):
            raise ValueError(f"{dictionary}, line {number}: {label[:32]!r} is no pinyin with a tone")
    return [*labels, BLANK]


def export(weights: network.Weights, labels: list[str], target: Path, language: Path | None = None) -> None:
    """Write a SavedModel without Keras to the folder; its weights are constants of the one signature's graph."""
    constants = network.folded(weights)

    def serve(samples: tf.Tensor, lengths: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, frames = network.scores(samples, lengths, constants)
        return {"scores": scores, "frames": frames}

    # Before the SavedModel: a pod that watches the folder takes it up as soon as that is there.
    extra = target / "assets.extra"
    extra.mkdir(parents=True, exist_ok=True)
    (extra / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    if language:
        shutil.copyfile(language, extra / "language.npz")
    signatures = {"serving_default": tf.function(serve, input_signature=network.INPUTS)}
    tf.saved_model.save(tf.Module(), str(target), signatures=signatures)


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert the files named in the arguments, else in the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="SpeechModel251bn.model.base.h5, or SpeechModel251bn.model.h5")
    parser.add_argument("dictionary", type=Path, help="dict.txt")
    parser.add_argument("target", type=Path, help="the folder to write, such as asrt/1")
    parser.add_argument("--language", type=Path, help="words for the pinyin, as models.speech.language makes them")
    options = parser.parse_args(arguments)
    try:
        labels = convert(options.weights, options.dictionary, options.target, options.language)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{options.target}: a recogniser of {len(labels) - 1} pinyin")


def _check(language: Path) -> None:
    if not is_zipfile(language):
        raise ValueError(f"{language} holds no words of a language")
    try:
        Language(language)
    except (ValueError, KeyError, BadZipFile) as error:
        raise ValueError(f"{language} holds no words of a language: {error}") from error


if __name__ == "__main__":
    main()
