"""Where the syllables of a recording lie, as the network hears it, and sentences put together of such pieces."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.speech.augment import Random
from models.speech.data import Samples, Utterance, floats
from models.speech.decode import scored
from models.speech.labels import LABELS, spell
from models.speech.network import HOP, RATE, STRIDE

Cuts = NDArray[np.int64]

#: Pieces of a spliced sentence are this many syllables long at most, and fade into each other for this many samples.
_LONGEST, _FADE = 4, 80


def path(scores: NDArray[np.float32], labels: Sequence[int]) -> NDArray[np.int64]:
    """Return the label that each frame says, by its place in `labels`, on the likeliest way through all; -1 is blank.

    `scores` is FP32 [frames, labels] in logarithms. Raises ValueError if there are too few frames.
    """
    states = np.full(2 * len(labels) + 1, len(LABELS) - 1)
    states[1::2] = labels
    skips = np.zeros(len(states), bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    best = np.full(len(states), -np.inf)
    best[0] = 0.0
    came = np.zeros((len(scores), len(states)), np.int64)
    for frame, row in enumerate(scores):
        one = np.concatenate([[-np.inf], best[:-1]])
        two = np.where(skips, np.concatenate([[-np.inf, -np.inf], best[:-2]]), -np.inf)
        ways = np.stack([best, one, two]) if frame else np.stack([best, one, np.full(len(states), -np.inf)])
        came[frame] = ways.argmax(axis=0)
        best = ways.max(axis=0) + row[states]
    state = len(states) - 1 - int(best[-2] > best[-1])
    if not np.isfinite(best[state]):
        raise ValueError("too few frames for so many labels")
    places = np.empty(len(scores), np.int64)
    for frame in range(len(scores) - 1, -1, -1):
        places[frame] = state // 2 if state % 2 else -1
        state -= came[frame, state]
    return places


def cuts(utterance: Utterance, scores: NDArray[np.float32]) -> Cuts:
    """Return the samples at which the syllables begin, and the end.

    They begin halfway from the last frame of the syllable before to their own first frame. Such pieces are recognised
    best; the softest moment in between is often inside a consonant.
    """
    spelled = [spell(syllable) for syllable in utterance.syllables]
    places = path(scores, [label for labels in spelled for label in labels])
    found, first = [0], 0
    for labels in spelled[:-1]:
        first += len(labels)
        frames = np.flatnonzero(places == first - 1)[-1] + np.flatnonzero(places == first)[0] + 1
        found.append(int(frames) * STRIDE * HOP // 2)
    return np.array([*found, len(utterance.samples)])


class Pieces:
    """The syllables of many recordings, from which sentences that nobody spoke can be put together."""

    def __init__(self, utterances: Sequence[Utterance], model: Callable[..., Any]) -> None:
        """Cut every recording by what the model says about it; one that is too fast for that is left out."""
        self._cut = []
        for utterance, scores in zip(utterances, scored(model, [*map(floats, utterances)]), strict=True):
            if len(scores) >= 3 * len(utterance.syllables):
                self._cut.append((utterance, cuts(utterance, scores)))
        said = [
            (row, place) for row, (utterance, _) in enumerate(self._cut) for place in range(len(utterance.syllables))
        ]
        names = [self._cut[row][0].syllables[place] for row, place in said]
        counts = Counter(names)
        weights = np.array([counts[name] ** -0.5 for name in names])
        self._said, self._share = said, np.cumsum(weights / weights.sum())

    def sentence(self, seconds: float, random: Random) -> Utterance:
        """Return pieces of one to four syllables, at least so many seconds; rare ones occur more often than spoken."""
        samples, syllables = np.zeros(0, np.int16), list[str]()
        while len(samples) < seconds * RATE:
            row, place = self._said[int(np.searchsorted(self._share[:-1], random.random()))]
            utterance, found = self._cut[row]
            start = max(0, place - int(random.integers(_LONGEST)))
            stop = min(len(utterance.syllables), max(place + 1, start + int(random.integers(1, _LONGEST + 1))))
            samples = _faded(samples, utterance.samples[found[start] : found[stop]])
            syllables += utterance.syllables[start:stop]
        return Utterance("", "", samples, tuple(syllables))


def _faded(before: Samples, after: Samples) -> Samples:
    """Return one after the other, the end of one fading into the beginning of the other."""
    shared = min(_FADE, len(before), len(after))
    ramp = np.arange(shared) / max(shared, 1)
    joint = before[len(before) - shared :] * (1 - ramp) + after[:shared] * ramp
    return np.concatenate([before[: len(before) - shared], joint.astype(np.int16), after[shared:]])
