"""Trains the recogniser and exports it: `python -m models.speech.train FOLDER`, from the project's root.

Interrupted, the same command goes on after the last whole epoch.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import tensorflow as tf

from models.speech import checkpoint, network, picture
from models.speech.align import Pieces
from models.speech.batches import ROWS, ahead, epoch
from models.speech.checkpoint import Checkpoint
from models.speech.data import SPEEDS, Utterance, floats, read, split
from models.speech.decode import error_rates, recognised
from models.speech.export import export
from models.speech.step import Training
from models.speech.voices import spoken

HERE: Final = Path(__file__).resolve().parent
SEED: Final = 4000
EPOCHS: Final = 36
#: From this epoch on, the network is good enough to cut recordings into syllables; it does so anew every few epochs.
SPLICED_FROM, CUT_EVERY = 9, 6
#: Sentences that espeak-ng speaks, and how many of them are in an epoch.
SPOKEN, SPOKEN_EACH = 1500, 400
#: Batches between lines of progress.
_OFTEN: Final = 100


def fit(training: Sequence[Utterance], held_out: Sequence[Utterance], path: Path, epochs: int) -> Checkpoint:
    """Train up to that many epochs, going on from the file at `path` if there is one; it is replaced after each."""
    state = checkpoint.read(path) if path.exists() else _beginning()
    voices, pieces = spoken(SPOKEN, np.random.default_rng(SEED)), None
    steps = -(-(len(training) + SPOKEN_EACH) // ROWS)
    run = Training(state.weights, state.average, epochs * steps, len(state.history) * steps)
    for number in range(len(state.history) + 1, epochs + 1):
        random = np.random.default_rng([SEED, number])
        if number >= SPLICED_FROM and (pieces is None or number % CUT_EVERY == 0):
            pieces = Pieces(training, run.scores)
        chosen = [voices[row] for row in random.choice(len(voices), SPOKEN_EACH, replace=False)]
        loss = _epoch(run, [*training, *chosen], pieces, random)
        errors = [_errors(run, [each for each in held_out if each.speed == speed]) for speed in SPEEDS]
        state = Checkpoint(*run.state(), np.append(state.history, [[loss, *np.mean(errors, axis=0)]], axis=0))
        checkpoint.write(path, state)
        picture.draw(state.history, path.with_name("loss.svg"))
        print(f"epoch {number} of {epochs}: loss {loss:.3f},", *map(_percent, SPEEDS, errors), flush=True)
    return state


def main() -> None:
    """Train on the data set in the folder named; see the card for where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the data set: sentences.json, normal.zip, slow.zip")
    parser.add_argument("--checkpoint", type=Path, default=checkpoint.PATH, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    options = parser.parse_args()
    tf.random.set_seed(SEED)
    training, held_out = split(read(options.folder))
    print(f"{len(training)} recordings to train on, {len(held_out)} held out", flush=True)
    export(fit(training, held_out, options.checkpoint, options.epochs).average, HERE / "1")


def _beginning() -> Checkpoint:
    weights = network.initial_weights(SEED)
    return Checkpoint(weights, weights, np.zeros((0, 3), np.float32))


def _epoch(run: Training, utterances: Sequence[Utterance], pieces: Pieces | None, random: np.random.Generator) -> float:
    """Take a step for every batch; return the mean loss."""
    begun, losses = time.monotonic(), []
    for batch in ahead(epoch(utterances, pieces, random)):
        losses.append(float(run.step(*map(tf.constant, batch))))
        if len(losses) % _OFTEN == 0:
            each = (time.monotonic() - begun) / len(losses)
            print(f"  batch {len(losses)}: loss {np.mean(losses[-_OFTEN:]):.3f}, {each:.2f} s each", flush=True)
    return float(np.mean(losses))


def _errors(run: Training, utterances: Sequence[Utterance]) -> tuple[float, float]:
    """Return what the average gets wrong, with tones and without."""
    found = recognised(run.scores, [*map(floats, utterances)])
    return error_rates([utterance.syllables for utterance in utterances], found)


def _percent(speed: str, rates: tuple[float, float]) -> str:
    return f"{speed} {rates[0]:.1%} wrong, {rates[1]:.1%} without tones;"


if __name__ == "__main__":
    main()
