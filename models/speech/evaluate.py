"""Prints what the exported model gets wrong on the held-out sentences: `python -m models.speech.evaluate FOLDER`."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

from models.speech.augment import Floats, Random, babble, in_room, mixed, noise
from models.speech.data import SPEEDS, Utterance, floats, read, split
from models.speech.decode import error_rates, recognised

HERE: Final = Path(__file__).resolve().parent

Disturbance = Callable[[Floats, Sequence[Floats], Random], Floats]


def _noisy(decibels: float) -> Disturbance:
    return lambda samples, _, random: mixed(samples, noise("pink", len(samples), random), decibels)


def _among_others(decibels: float) -> Disturbance:
    def disturb(samples: Floats, voices: Sequence[Floats], random: Random) -> Floats:
        chosen = [voices[number] for number in random.integers(len(voices), size=4)]
        return mixed(samples, babble(chosen, len(samples), random), decibels)

    return disturb


CONDITIONS: Final[dict[str, Disturbance]] = {
    "clean": lambda samples, *_: samples,
    "room, 0.4 s": lambda samples, _, random: in_room(samples, 0.4, 0.5, random),
    **{f"pink noise, {decibels} dB": _noisy(decibels) for decibels in (20, 10, 5)},
    **{f"four other voices, {decibels} dB": _among_others(decibels) for decibels in (20, 10, 5)},
}


def load(folder: Path) -> Callable[[Floats, Any], tuple[Any, Any]]:
    """Return the SavedModel in `folder` as a function of samples and lengths."""
    loaded = tf.saved_model.load(str(folder))

    def model(samples: Floats, lengths: Any) -> tuple[Any, Any]:
        found = loaded.signatures["serving_default"](samples=tf.constant(samples), lengths=tf.constant(lengths))
        return found["scores"], found["frames"]

    return model


def measured(model: Callable[..., Any], utterances: Sequence[Utterance], disturb: Disturbance) -> tuple[float, float]:
    """Return the share of wrong syllables with tones, and without, of disturbed utterances; alike on every call."""
    random = np.random.default_rng(7)
    voices = [*map(floats, utterances)]
    heard = recognised(model, [disturb(voice, voices, random) for voice in voices])
    return error_rates([utterance.syllables for utterance in utterances], heard)


def table(model: Callable[..., Any], held_out: Sequence[Utterance]) -> str:
    """Return a Markdown table: conditions down; errors with and without tones of each speed across."""
    heads = ["", *(f"{speed}, {kind}" for speed in SPEEDS for kind in ("syllables", "without tones"))]
    lines = [heads, ["---"] * len(heads)]
    for name, disturb in CONDITIONS.items():
        rates = [measured(model, [u for u in held_out if u.speed == speed], disturb) for speed in SPEEDS]
        lines.append([name, *(f"{rate:.1%}" for pair in rates for rate in pair)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Measure the model in `1/` on the data set in the folder named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the data set")
    held_out = split(read(parser.parse_args().folder))[1]
    print(table(load(HERE / "1"), held_out))


if __name__ == "__main__":
    main()
