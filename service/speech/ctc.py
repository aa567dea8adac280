"""Reads a network's scores: which syllables were said and when, and which others may have been.

Connectionist temporal classification (Graves et al., 2006): a label lasts over neighbouring frames, and between two
equal labels stands the blank, which is the last of all.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

TONES: Final = "12345"
#: A logarithm of a probability is no less than this.
_LEAST: Final = -30.0
#: Of the syllables that may have been said so many are kept, and none that costs so much more than the likeliest.
_KEPT, _FAR = 8, 8.0
#: What so many of them cost is computed at once.
_TOGETHER: Final = 16
#: What a score counts against the words' costs, and what it costs to take a neutral tone for another, or the reverse.
_WEIGHT: Final = 1.5
_NEUTRAL: Final = 2.0
#: A network expects what is said often. So much of that is taken off its scores, since words are expected as well; no
#: syllable counts as rarer.
_EXPECTED, _RAREST = 0.6, 1e-5

Scores = npt.NDArray[np.floating[Any]]


class Syllable(NamedTuple):
    """A tonal syllable such as `zhong1`, the neutral tone is 5; heard from frame `begin` until before frame `end`.

    Its final begins with frame `final`.
    """

    name: str
    begin: int
    final: int
    end: int


class Sounds(NamedTuple):
    """What may have been said, one syllable after the other.

    `syllables` are numbers, [n, k], of syllables without their tones, 0 is none; `costs`, FP32 [n, k, 5], is what each
    costs in each tone, infinite if it is out of the question.
    """

    syllables: npt.NDArray[np.int64]
    costs: npt.NDArray[np.float32]


def greedy(scores: Scores, labels: Sequence[str]) -> list[Syllable]:
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
            syllables.append(Syllable(initial + label, initial_begin if initial else begin, begin, end))
            initial = ""
        else:
            initial, initial_begin = label, begin
    return syllables


class Alternatives:
    """How the syllables of a language are spelled with labels, and thus which of them scores speak for."""

    def __init__(self, labels: Sequence[str], syllables: Sequence[str], shares: npt.NDArray[np.floating[Any]]) -> None:
        """Take the labels, the blank last, the names of the syllables without tones, numbered from 1, and shares.

        These are how often each syllable is said in each tone, [syllables + 1, 5].
        """
        numbers = {label: number for number, label in enumerate(labels)}
        nothing, impossible = len(labels), len(labels) + 1
        self._initials = np.full(len(syllables) + 1, nothing)
        self._finals = np.full((len(syllables) + 1, len(TONES)), impossible)
        self._expected = (_WEIGHT * _EXPECTED * np.log(shares + _RAREST)).astype(np.float32)
        for number, name in enumerate(syllables, 1):
            for cut in range(3):
                finals = [numbers.get(name[cut:] + tone, impossible) for tone in TONES]
                if min(finals) < impossible and (cut == 0 or name[:cut] in numbers):
                    self._initials[number] = numbers.get(name[:cut], nothing)
                    self._finals[number] = finals
                    break

    def sounds(self, scores: Scores, heard: Sequence[Syllable]) -> Sounds:
        """Return what may have been said where syllables were heard in the scores; a cost of 0 is the likeliest."""
        kept = min(_KEPT, len(self._initials))
        found = Sounds(np.zeros((len(heard), kept), np.int64), np.full((len(heard), kept, len(TONES)), np.inf, "f4"))
        middles = [(one.end + other.begin) // 2 for one, other in pairwise(heard)]
        bounds = [*zip([0, *middles], (each.final for each in heard), [*middles, len(scores)], strict=False)]
        for first in range(0, len(heard), _TOGETHER):
            costs = self._costs(scores, bounds[first : first + _TOGETHER])
            least = costs.min(axis=2)
            numbers = np.argpartition(least, kept - 1, axis=1)[:, :kept]
            rows = np.arange(len(numbers))[:, None]
            best = np.nan_to_num(least.min(axis=1, keepdims=True), posinf=0)
            near = least[rows, numbers] <= best + _FAR
            found.syllables[first : first + _TOGETHER] = np.where(near, numbers, 0)
            found.costs[first : first + _TOGETHER][near] = (costs[rows, numbers] - best[:, :, None])[near]
        return found

    def _costs(self, scores: Scores, bounds: Sequence[tuple[int, int, int]]) -> npt.NDArray[np.float32]:
        """Return what each syllable costs in each tone, [n, syllables, 5], between frames: begin, final and end."""
        start, stop = bounds[0][0], bounds[-1][2]
        gains = _logarithms(scores[start:stop])
        gains -= gains[:, -1:]
        none = np.zeros(len(bounds), np.float32), np.full(len(bounds), -np.inf, np.float32)
        initials = _best(gains, np.array([(begin, final) for begin, final, _ in bounds]) - start)
        finals = _best(gains, np.array([(final, end) for _, final, end in bounds]) - start)
        initials, finals = (np.column_stack([each, *none]) for each in (initials, finals))
        costs: npt.NDArray[np.float32] = -_WEIGHT * (initials[:, self._initials, None] + finals[:, self._finals])
        toned, neutral = costs[..., :4].min(axis=2) + _NEUTRAL, costs[..., 4] + _NEUTRAL
        np.minimum(costs[..., :4], neutral[..., None], out=costs[..., :4])
        np.minimum(costs[..., 4], toned, out=costs[..., 4])
        costs += self._expected
        return costs


def _logarithms(scores: Scores) -> npt.NDArray[np.float32]:
    """Return the logarithms of the probabilities that the scores are or stand for."""
    scores = np.clip(np.nan_to_num(scores.astype(np.float32), nan=-np.inf), -1e4, 1e4)
    if scores.size and scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1, atol=1e-2):
        return np.log(np.maximum(scores, np.float32(np.exp(_LEAST))))
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return np.maximum(scores, np.float32(_LEAST))


def _best(gains: npt.NDArray[np.float32], bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return what each label gains against silence if it is said once, at the best moment, [n, labels].

    `gains` is what it gains in each frame, [frames, labels]; `bounds` are the first frame and the one after the last.
    """
    begins, ends = bounds[:, :1], bounds[:, 1:]
    frames = begins + np.arange(max(1, int((ends - begins).max())))
    inside = gains[np.minimum(frames, len(gains) - 1)]
    inside[frames >= ends] = _LEAST
    until = np.zeros((len(inside), frames.shape[1] + 1, inside.shape[2]), np.float32)
    np.cumsum(inside, axis=1, out=until[:, 1:])
    np.subtract(until[:, 1:], np.minimum.accumulate(until[:, :-1], axis=1), out=inside)
    best: npt.NDArray[np.float32] = inside.max(axis=1)
    return best
