"""What a model hears in recordings, and how much of it is wrong."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.speech.labels import LABELS
from service.speech.ctc import greedy

Scores = NDArray[np.float32]


def recognised(model: Callable[..., Any], recordings: Sequence[NDArray[np.float32]]) -> list[list[str]]:
    """Return the syllables that the model hears in each recording."""
    return [[syllable.name for syllable in greedy(scores, LABELS)] for scores in scored(model, recordings)]


def scored(model: Callable[..., Any], recordings: Sequence[NDArray[np.float32]], rows: int = 50) -> list[Scores]:
    """Return what the model, given samples and lengths, says about each recording: FP32 [frames, labels]."""
    order = sorted(range(len(recordings)), key=lambda number: len(recordings[number]))
    found: dict[int, Scores] = {}
    for start in range(0, len(order), rows):
        numbers = order[start : start + rows]
        lengths = np.array([len(recordings[number]) for number in numbers], np.int32)
        samples = np.zeros((len(numbers), max(lengths)), np.float32)
        for row, number in enumerate(numbers):
            samples[row, : lengths[row]] = recordings[number]
        scores, frames = (np.asarray(tensor) for tensor in model(samples, lengths))
        found |= {number: scores[row, : frames[row]].copy() for row, number in enumerate(numbers)}
    return [found[number] for number in range(len(recordings))]


def error_rates(right: Sequence[Sequence[str]], heard: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Return the syllable error with tones, and without: edits needed, as a share of the right syllables."""
    plain = ([[syllable[:-1] for syllable in each] for each in side] for side in (right, heard))
    return error_rate(right, heard), error_rate(*plain)


def error_rate(right: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> float:
    """Return the edits needed as a share of what is right, syllables or characters."""
    return sum(distance(*pair) for pair in zip(right, found, strict=True)) / sum(map(len, right))


def distance(right: Sequence[str], heard: Sequence[str]) -> int:
    """Return how many syllables or characters must be replaced, added or removed."""
    row = list(range(len(heard) + 1))
    for number, syllable in enumerate(right, 1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(heard, 1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (syllable != other))
    return row[-1]
