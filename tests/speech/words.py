"""A small language for tests."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.speech.language import LONGEST, packed


def write(path: Path, words: Sequence[tuple[str, str, float]], pairs: Sequence[tuple[str, str, float]] = ()) -> None:
    """Write the file of a language: words, each with its syllables and its share of all words; and what follows what.

    A pair gains so much, and all that follows a word that begins pairs costs something; nothing for a word stands for
    begin and end.
    """
    bases = sorted({syllable[:-1] for _, syllables, _ in words for syllable in syllables.split()} | {"hm"})
    sounds, tones, texts = (np.zeros((len(words), LONGEST), kind) for kind in (np.int64, np.uint8, np.uint16))
    for row, (text, syllables, _) in enumerate(words):
        for place, syllable in enumerate(syllables.split()):
            sounds[row, place], tones[row, place] = bases.index(syllable[:-1]) + 1, int(syllable[-1])
        texts[row, : len(text)] = list(map(ord, text))
    keys = packed(sounds)
    order = np.argsort(keys, kind="stable")
    numbers = {words[row][0]: number for number, row in enumerate(order)} | {"": len(words)}
    leaving = {numbers[one]: 0.1 for one, _, _ in pairs}
    rows = sorted((numbers[one], numbers[other], gain) for one, other, gain in pairs)
    np.savez(
        path,
        syllables=np.array(bases),
        keys=keys[order],
        tones=tones[order],
        costs=np.array([-math.log(share) for _, _, share in words], np.float16)[order],
        texts=texts[order],
        pairs=np.array([row[:2] for row in rows], np.uint32).reshape(-1, 2),
        gains=np.array([gain for *_, gain in rows], np.float16),
        leaving=np.array([leaving.get(row, 0) for row in range(len(words) + 1)], np.float16),
    )
