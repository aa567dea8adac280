"""Reads a network's scores: the best label of every frame, joined into tonal syllables with their times.

Connectionist temporal classification (Graves et al., 2006): a label lasts over neighbouring frames, and between two
equal labels stands the blank, which is the last of all.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

TONES: Final = "12345"


class Syllable(NamedTuple):
    """A tonal syllable such as `zhong1`, the neutral tone is 5; heard from frame `begin` until before frame `end`."""

    name: str
    begin: int
    end: int


def greedy(scores: npt.NDArray[np.floating], labels: Sequence[str]) -> list[Syllable]:
    """Return the syllables that the best labels of the frames spell.

    `scores` is [frames, labels], larger is better: probabilities, their logarithms or logits. A label that ends in a
    tone ends a syllable: with initials and tonal finals for labels (`zh`, `ong1`), the initial before it belongs to it;
    labels may as well be whole syllables. An initial that no final follows is dropped.
    """
    best = scores.argmax(axis=1)
    bounds = np.flatnonzero(np.diff(best, prepend=-1, append=-1))
    syllables = []
    initial, initial_begin = "", 0
    for begin, end in pairwise(bounds.tolist()):
        number = int(best[begin])
        if number == len(labels) - 1:
            continue
        label = labels[number]
        if label[-1] in TONES:
            syllables.append(Syllable(initial + label, initial_begin if initial else begin, end))
            initial = ""
        else:
            initial, initial_begin = label, begin
    return syllables
