"""Cuts long audio at pauses into pieces that a model takes, and joins what it says of them.

Each piece hears a second of its neighbours on either side, so that no sound lacks what surrounds it; what the model
says of that second is left to the neighbour. So nothing is lost or said twice, however the cuts fall.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from service.speech.audio import RATE, Samples

#: The longest piece with its margins, and the least and the most between two cuts, in samples.
LONGEST: Final = 16 * RATE
MARGIN: Final = RATE
SHORTEST, FARTHEST = 8 * RATE, LONGEST - 2 * MARGIN
#: Loudness is looked at in steps of 10 ms, over 200 ms.
_STEP: Final = RATE // 100
_SPAN: Final = 20


class Piece(NamedTuple):
    """The samples from `first` until before `last` are heard, those from `begin` until before `end` count."""

    first: int
    begin: int
    end: int
    last: int


def pieces(samples: Samples) -> list[Piece]:
    """Return the pieces, one after the other, each at most 16 s with its margins; audio of up to 16 s is one piece."""
    total = len(samples)
    if total <= LONGEST:
        return [Piece(0, 0, total, total)]
    cuts = [0]
    while total - cuts[-1] > FARTHEST + MARGIN:
        start = cuts[-1] + SHORTEST
        # What is left for the last piece should not be a snippet.
        stop = min(cuts[-1] + FARTHEST, max(start + RATE, total - SHORTEST))
        cuts.append(start + quietest(samples[start:stop]))
    cuts.append(total)
    return [Piece(max(0, begin - MARGIN), begin, end, min(total, end + MARGIN)) for begin, end in pairwise(cuts)]


def quietest(samples: Samples) -> int:
    """Return the sample in the middle of the quietest 200 ms; of several, the last."""
    steps = len(samples) // _STEP
    if steps <= _SPAN:
        return len(samples) // 2
    power = np.square(samples[: steps * _STEP].reshape(steps, _STEP)).sum(axis=1, dtype=np.float64)
    sums = np.convolve(power, np.ones(_SPAN), "valid")
    place = len(sums) - 1 - int(np.argmin(sums[::-1]))
    return (place + _SPAN // 2) * _STEP


def joined(parts: Sequence[Piece], scores: Sequence[npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the scores of the whole, [frames, labels], and the second at which each frame begins, [frames].

    `scores` are those of each piece, whose frames lie evenly over it.
    """
    kept, seconds = [], []
    for piece, said in zip(parts, scores, strict=True):
        samples_a_frame = (piece.last - piece.first) / max(1, len(said))
        begin, end = (round((place - piece.first) / max(1, samples_a_frame)) for place in (piece.begin, piece.end))
        kept.append(said[begin:end])
        seconds.append((piece.first + np.arange(begin, begin + len(kept[-1])) * samples_a_frame) / RATE)
    return np.concatenate(kept), np.concatenate(seconds)
