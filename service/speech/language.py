"""Writes tonal syllables in characters: the likeliest sequence of words that sounds like them.

The words, how often each is used and which of them follow each other come from a file that models/speech/language.py
makes. A sequence costs the sum over its words of minus the natural logarithm of their probability, given the word
before; the cheapest is found by dynamic programming (Viterbi). A syllable in another tone than the word's costs extra:
speakers change tones before each other, dictionaries disagree about neutral ones, and recognisers err.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

#: The longest word, in syllables. Nine bits of a key tell the syllable, without its tone; unused ones are zero.
LONGEST: Final = 6
BITS: Final = 9
_NO_SYLLABLE: Final = (1 << BITS) - 1
#: What another tone costs, and what it costs if one of the two is neutral.
_TONE, _NEUTRAL = 4.0, 1.5
#: The cost of a syllable that no word fits: it is written as it is.
_UNKNOWN: Final = 40.0
#: Of the words that fit the same syllables, so many are tried; of single syllables twice as many.
_WORDS: Final = 6
_PINYIN: Final = re.compile(r"([a-zêü]+)([0-5]?)")
#: v stands for ü; some write just u for it, in nue and lue.
_UMLAUT: Final = re.compile(r"ü|(?<=^[nl])u(?=e$)")

Integers = npt.NDArray[np.integer[Any]]


class Word(NamedTuple):
    """A word of the text, which sounds like the syllables from `begin` until before `end`."""

    text: str
    begin: int
    end: int


class _Candidate(NamedTuple):
    """A word that fits from syllable `begin` until before `end`; `number` is -1 where there is none."""

    begin: int
    end: int
    number: int
    cost: float


class _Path(NamedTuple):
    """The cheapest way to a candidate."""

    cost: float
    last: _Candidate | None
    before: "_Path | None"


class Language:
    """The words of a language, by sound."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises OSError, KeyError or ValueError if it is none."""
        with np.load(path) as file:
            self._bases = {str(name): number for number, name in enumerate(file["syllables"], 1)}
            self._keys, self._tones = file["keys"], file["tones"]
            self._costs, self._texts = file["costs"].astype(np.float32), file["texts"]
            followers, gains = file["pairs"], file["gains"].tolist()
        #: What a word costs less after a certain other; the number after the last word stands for begin and end.
        self._gains: dict[int, dict[int, float]] = {}
        for (first, second), gain in zip(followers.tolist(), gains, strict=True):
            self._gains.setdefault(first, {})[second] = gain
        self._border = len(self._keys)

    def words(self, syllables: Sequence[str]) -> list[Word]:
        """Return the words for syllables such as `ni3`; without a digit, any tone will do.

        What no word sounds like is a word of its own, as it is. Takes time in proportion to the number of syllables.
        """
        spelled = [self._spelled(syllable) for syllable in syllables]
        if not spelled:
            return []
        paths: list[list[_Path]] = [[] for _ in range(len(spelled) + 1)]
        paths[0] = [_Path(0.0, None, None)]
        for begin, candidates in groupby(self._candidates(spelled), itemgetter(0)):
            for candidate in candidates:
                paths[candidate.end].append(self._extended(paths[begin], candidate))
        end = self._extended(paths[-1], _Candidate(len(spelled), len(spelled), self._border, 0.0)).before
        words = []
        while end and end.last:
            begin, stop = end.last.begin, end.last.end
            words.append(Word(self._text(end.last.number) or syllables[begin], begin, stop))
            end = end.before
        return words[::-1]

    def knows(self, syllable: str) -> bool:
        """Tell whether there is such a syllable."""
        return self._spelled(syllable)[0] != _NO_SYLLABLE

    def _spelled(self, syllable: str) -> tuple[int, int]:
        """Return the number of the syllable without its tone, and the tone, 0 if none is given."""
        found = _PINYIN.fullmatch(syllable.strip().lower())
        if not found:
            return _NO_SYLLABLE, 0
        base = _UMLAUT.sub("v", found[1])
        return self._bases.get(base, _NO_SYLLABLE), int(found[2] or 0)

    def _candidates(self, spelled: Sequence[tuple[int, int]]) -> Iterator[_Candidate]:
        """Yield the words that fit somewhere, in the order of where they begin, the cheapest few of each place."""
        count = len(spelled)
        bases = np.zeros(count + LONGEST, np.uint64)
        tones = np.zeros(count + LONGEST, np.uint8)
        bases[:count], tones[:count] = np.array(spelled).T
        spans = [(begin, begin + size) for begin in range(count) for size in range(1, min(LONGEST, count - begin) + 1)]
        begins, ends = np.array(spans).T
        inside = np.arange(LONGEST) < (ends - begins)[:, None]
        places = begins[:, None] + np.arange(LONGEST)
        keys = packed(np.where(inside, bases[places], 0))
        first, stop = np.searchsorted(self._keys, keys), np.searchsorted(self._keys, keys, side="right")
        span = np.repeat(np.arange(len(spans)), stop - first)
        number = np.arange(len(span)) + np.repeat(first - np.cumsum(stop - first) + (stop - first), stop - first)
        costs = self._costs[number] + _tone_costs(self._tones[number], np.where(inside, tones[places], 0)[span])
        order = np.lexsort((costs, span))
        rank = np.arange(len(order)) - np.searchsorted(span[order], span[order])
        kept = order[rank < np.where((ends - begins)[span[order]] == 1, 2 * _WORDS, _WORDS)]
        fits = zip(span[kept].tolist(), number[kept].tolist(), costs[kept].tolist(), strict=True)
        found = {place: list(group) for place, group in groupby(fits, itemgetter(0))}
        for place, (begin, end) in enumerate(spans):
            for _, word, cost in found.get(place, ()):
                yield _Candidate(begin, end, word, cost)
            if end == begin + 1:
                yield _Candidate(begin, end, -1, _UNKNOWN)

    def _extended(self, paths: Sequence[_Path], candidate: _Candidate) -> _Path:
        """Return the cheapest of the paths, extended by the candidate."""
        best, least = paths[0], float("inf")
        for path in paths:
            gains = self._gains.get(path.last.number if path.last else self._border)
            cost = path.cost - gains.get(candidate.number, 0.0) if gains else path.cost
            if cost < least:
                best, least = path, cost
        return _Path(least + candidate.cost, candidate, best)

    def _text(self, number: int) -> str:
        return "" if number < 0 else str(self._texts[number].tobytes().decode("utf-16-le")).rstrip("\0")


def packed(bases: Integers) -> npt.NDArray[np.uint64]:
    """Return the keys, uint64 [n], of syllables' numbers without their tones, [n, LONGEST]; 0 is no syllable."""
    shifts = np.arange(LONGEST, dtype=np.uint64) * np.uint64(BITS)
    keys: npt.NDArray[np.uint64] = np.bitwise_or.reduce(bases.astype(np.uint64) << shifts, axis=1)
    return keys


def _tone_costs(tones: Integers, wanted: Integers) -> npt.NDArray[np.float32]:
    """Return what the tones [n, LONGEST] cost where others are wanted; a 0 wants none."""
    differ = (tones != wanted) & (wanted != 0)
    neutral = (tones == 5) | (wanted == 5)
    costs = np.where(neutral, np.float32(_NEUTRAL), np.float32(_TONE))
    summed: npt.NDArray[np.float32] = np.where(differ, costs, np.float32(0)).sum(axis=1)
    return summed
