"""Finds the likeliest sequence of words for syllables, or for what may have been said in their place.

The words, how often each is used and which of them follow each other come from a file that models/speech/language.py
makes. A sequence costs the sum over its words of minus the natural logarithm of their probability, given the word
before, and of what their syllables cost at their places; the cheapest is found by dynamic programming (Viterbi). If
syllables are given, another tone than the word's costs extra: speakers change tones before each other, and dictionaries
disagree about neutral ones.
"""

import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from service.speech.ctc import TONES, Sounds

#: The longest word, in syllables. Nine bits of a key tell the syllable, without its tone, the highest the first; 0 is
#: none.
LONGEST: Final = 6
BITS: Final = 9
#: What another tone costs, and what it costs if one of the two is neutral.
_TONE, _NEUTRAL = 4.0, 1.5
#: The cost of a syllable that no word fits: it is written as it is.
_UNKNOWN: Final = 40.0
#: A word whose syllables cost more than this above the cheapest is not looked at.
_FAR: Final = 10.0
#: Of the words that fit the same places so many are tried, of one syllable twice as many; and so many ways to there.
_WORDS, _WAYS = 6, 16
#: Words are looked up for so many places at once.
_TOGETHER: Final = 32
_PINYIN: Final = re.compile(r"([a-zêü]+)([0-5]?)")
#: v stands for ü; some write just u for it, in nue and lue.
_UMLAUT: Final = re.compile(r"ü|(?<=^[nl])u(?=e$)")
_BASE: Final = (1 << BITS) - 1
_SHIFTS: Final = BITS * np.arange(LONGEST - 1, -1, -1)

Integers = npt.NDArray[np.integer[Any]]


class Word(NamedTuple):
    """A word of the text, which stands for the places from `begin` until before `end`, and its syllables."""

    text: str
    begin: int
    end: int
    syllables: list[str]


class _Candidates(NamedTuple):
    """Words that fit from a place on until before `ends`; with their numbers, [n] each, and costs."""

    ends: Integers
    numbers: Integers
    costs: npt.NDArray[np.float64]


class _Way(NamedTuple):
    """The cheapest way to a word, which is from `begin` until before `end`."""

    cost: float
    begin: int
    end: int
    number: int
    before: "_Way | None"


class Language:
    """The words of a language, by sound."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises OSError, KeyError or ValueError if it is none."""
        with np.load(path) as file:
            #: The names of syllables without tones, numbered from 1.
            self.syllables = [str(name) for name in file["syllables"]]
            self._keys, self._tones, self._texts = file["keys"], file["tones"], file["texts"]
            self._costs = file["costs"].astype(np.float32)
            pairs, self._gains = file["pairs"].astype(np.int64), np.append(file["gains"], 0)
            #: What it costs to go on after each word, the border, and what is no word.
            self._leaving = np.append(file["leaving"].astype(np.float64), 0)
        #: The number after the last word stands for begin and end, the next for what is no word.
        self._border = len(self._keys)
        self._pairs = np.append(pairs[:, 0] * (self._border + 2) + pairs[:, 1], np.iinfo(np.int64).max)
        self._numbers = {name: number for number, name in enumerate(self.syllables, 1)}

    def shares(self) -> npt.NDArray[np.float64]:
        """Return how often each syllable is said in each tone, as a share of all, [syllables + 1, 5]."""
        bases = (self._keys[:, None] >> _SHIFTS) & _BASE
        row, column = np.nonzero(bases)
        toned = bases[row, column] * len(TONES) + self._tones[row, column] - 1
        counts = np.bincount(toned, np.exp(-self._costs)[row], minlength=(len(self.syllables) + 1) * len(TONES))
        shares: npt.NDArray[np.float64] = (counts / counts.sum()).reshape(-1, len(TONES))
        return shares

    def words(self, syllables: Sequence[str]) -> list[Word]:
        """Return the words for syllables such as `ni3`; without a digit, any tone will do.

        What no word sounds like is a word of its own, as it is. Takes time in proportion to the number of syllables.
        """
        spelled = [self._spelled(syllable) for syllable in syllables]
        bases = np.array([base for base, _ in spelled], np.int64)
        return self.likeliest(Sounds(bases[:, None], _tone_costs()[[tone for _, tone in spelled], None]), syllables)

    def likeliest(self, sounds: Sounds, names: Sequence[str]) -> list[Word]:
        """Return the words for what may have been said; where none fits, the name of that place is a word."""
        count = len(names)
        ways: list[list[_Way]] = [[] for _ in range(count + 1)]
        ways[0].append(_Way(0.0, 0, 0, self._border, None))
        for begin, candidates in enumerate(self._candidates(sounds)):
            for extended in self._extended(ways[begin], begin, candidates):
                ways[extended.end].append(extended)
        border = _Candidates(np.array([count]), np.array([self._border]), np.zeros(1))
        way = self._extended(ways[count], count, border)[0].before
        words: list[Word] = []
        while way and way.before:
            words.append(self._word(way, names))
            way = way.before
        return words[::-1]

    def knows(self, syllable: str) -> bool:
        """Tell whether there is such a syllable."""
        return self._spelled(syllable)[0] > 0

    def _spelled(self, syllable: str) -> tuple[int, int]:
        """Return the number of the syllable without its tone, 0 if there is none, and the tone, 0 if none is given."""
        found = _PINYIN.fullmatch(syllable.strip().lower())
        if not found:
            return 0, 0
        return self._numbers.get(_UMLAUT.sub("v", found[1]), 0), int(found[2] or 0)

    def _candidates(self, sounds: Sounds) -> Iterator[_Candidates]:
        """Yield the words that fit from each place on, the cheapest few for each end."""
        for first in range(0, len(sounds.syllables), _TOGETHER):
            places = slice(first, first + _TOGETHER + LONGEST - 1)
            part = Sounds(sounds.syllables[places], sounds.costs[places])
            begins = np.arange(min(_TOGETHER, len(part.syllables)))
            begin, size, number = self._fitting(part, begins)
            costs = self._costs[number] + self._sound_costs(part, begin, number)
            order = np.lexsort((costs, size, begin))
            span = (begin * (LONGEST + 1) + size)[order]
            rank = np.arange(len(order)) - np.searchsorted(span, span)
            kept = order[rank < np.where(size[order] == 1, 2 * _WORDS, _WORDS)]
            bounds = np.searchsorted(begin[kept], np.append(begins, len(begins)))
            for place in begins:
                here = kept[bounds[place] : bounds[place + 1]]
                yield _Candidates(
                    np.append(first + place + size[here], first + place + 1),
                    np.append(number[here], self._border + 1),
                    np.append(costs[here], _UNKNOWN),
                )

    def _fitting(self, sounds: Sounds, begins: Integers) -> tuple[Integers, Integers, Integers]:
        """Return begin, size and number of the words that may have been said from the places in `begins` on."""
        found = []
        least = np.where(sounds.syllables > 0, sounds.costs.min(axis=2), np.inf)
        keys, begin, costs = np.zeros(len(begins), np.int64), begins, np.zeros(len(begins))
        for size, shift in enumerate(_SHIFTS.tolist(), 1):
            going = begin + size <= len(sounds.syllables)
            keys, begin, costs = keys[going], begin[going], costs[going]
            summed = costs[:, None] + least[begin + size - 1]
            row, column = np.nonzero(summed <= _FAR)
            keys, begin, costs = keys[row], begin[row], summed[row, column]
            keys |= sounds.syllables[begin + size - 1, column] << shift
            start, stop = (np.searchsorted(self._keys, each) for each in (keys, keys + (1 << shift)))
            going = start < stop
            keys, begin, costs, start = keys[going], begin[going], costs[going], start[going]
            counts = np.searchsorted(self._keys, keys, side="right") - start
            number = np.arange(counts.sum()) + np.repeat(start - np.cumsum(counts) + counts, counts)
            found.append((np.repeat(begin, counts), np.full(len(number), size), number))
        begin, sizes, number = (np.concatenate(each) for each in zip(*found, strict=True))
        return begin, sizes, number

    def _sound_costs(self, sounds: Sounds, begin: Integers, number: Integers) -> npt.NDArray[np.float32]:
        """Return what the syllables of each word cost, which begins at its place."""
        count = len(sounds.syllables)
        table = np.full((count + LONGEST, len(self.syllables) + 1, len(TONES)), np.inf, np.float32)
        table[np.arange(count)[:, None], sounds.syllables] = sounds.costs
        table[:, 0] = 0
        bases = (self._keys[number][:, None] >> _SHIFTS) & _BASE
        costs: npt.NDArray[np.float32] = table[
            begin[:, None] + np.arange(LONGEST), bases, self._tones[number] - np.int64(1)
        ].sum(axis=1)
        return costs

    def _extended(self, ways: Sequence[_Way], begin: int, candidates: _Candidates) -> list[_Way]:
        """Return for each candidate the cheapest of the ways to where it begins, extended by it."""
        ways = sorted(ways, key=itemgetter(0))[:_WAYS]
        last = np.array([way.number for way in ways])
        wanted = last[:, None] * (self._border + 2) + candidates.numbers
        found = np.searchsorted(self._pairs, wanted)
        gains = np.where(self._pairs[found] == wanted, self._gains[found], 0)
        costs = (np.array([way.cost for way in ways]) + self._leaving[last])[:, None] - gains
        best = costs.argmin(axis=0)
        total = costs[best, np.arange(len(best))] + candidates.costs
        steps = zip(total.tolist(), candidates.ends.tolist(), candidates.numbers.tolist(), best.tolist(), strict=True)
        return [_Way(cost, begin, end, number, ways[way]) for cost, end, number, way in steps]

    def _word(self, way: _Way, names: Sequence[str]) -> Word:
        if way.number > self._border:
            return Word(names[way.begin], way.begin, way.end, [names[way.begin]])
        bases = [int(self._keys[way.number]) >> shift & _BASE for shift in _SHIFTS.tolist()]
        toned = zip(bases[: way.end - way.begin], self._tones[way.number].tolist(), strict=False)
        text = self._texts[way.number].tobytes().decode("utf-16-le").rstrip("\0")
        return Word(text, way.begin, way.end, [f"{self.syllables[base - 1]}{tone}" for base, tone in toned])


def packed(bases: Integers) -> npt.NDArray[np.int64]:
    """Return the keys, int64 [n], of syllables' numbers without their tones, [n, LONGEST]; 0 is no syllable."""
    keys: npt.NDArray[np.int64] = np.bitwise_or.reduce(bases.astype(np.int64) << _SHIFTS, axis=1)
    return keys


def _tone_costs() -> npt.NDArray[np.float32]:
    """Return what each tone of a word costs, [6, 5], where another was given; 0 is none given."""
    given, tones = np.arange(6)[:, None], np.arange(1, 6)
    other = np.where((given == 5) | (tones == 5), _NEUTRAL, _TONE)
    return np.where((given == tones) | (given == 0), 0, other).astype(np.float32)
