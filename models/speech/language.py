"""Makes the file of words that turns syllables into characters: `python -m models.speech.language FOLDER`.

The words and how often they are used are jieba's, their pronunciation pypinyin's (both MIT licence); the sentences of
the training data in FOLDER (CC-BY-SA 4.0), without those held out, add their own counts and which word follows which.
"""

import argparse
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import jieba
import numpy as np
from pypinyin import Style, pinyin

from models.speech.sentences import CHINESE, Sentence, read
from service.speech.language import LONGEST, packed

TARGET: Final = Path(__file__).resolve().parent / "1" / "assets.extra" / "language.npz"
#: The share of the sentences' own counts, and of what follows what in them, against jieba's and against chance.
OWN, FOLLOWING = 0.6, 0.3
#: A word of jieba's that is rarer is left out, and what a word costs that was never counted.
RAREST, FLOOR = 10, 1e-9
#: A sentence's reading of a character counts as much as so many of a word in jieba's list.
READING: Final = 2000


def readings(words: Iterable[str]) -> dict[str, list[list[str]]]:
    """Return each word's pronunciations, the usual one first; only single characters have several."""
    found = {}
    for word in words:
        ways = pinyin(word, style=Style.TONE3, heteronym=len(word) == 1, neutral_tone_with_five=True)
        choices = [[way] for way in ways[0]] if len(word) == 1 else [[way[0] for way in ways]]
        found[word] = [choice for choice in choices if all(re.fullmatch(r"[a-zêü]+[1-5]", each) for each in choice)]
    return found


def entries(counts: Counter[str], sentences: Iterable[Sentence]) -> Iterator[tuple[str, list[str], float]]:
    """Yield (word, syllables, share of this pronunciation among all of the word's)."""
    pronounced = readings(counts)
    heard: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for word, ways in pronounced.items():
        if len(word) > 1 and ways:
            for character, syllable in zip(word, ways[0], strict=True):
                heard[character][syllable] += counts[word]
    for sentence in sentences:
        for character, syllable in zip(sentence.characters(), sentence.syllables, strict=True):
            heard[character][syllable] += READING
    for word, ways in pronounced.items():
        if len(word) > 1:
            yield from ((word, way, 1.0) for way in ways)
            continue
        weights = Counter({syllable: 0.5 for (syllable,) in ways}) + heard[word]
        if ways:
            weights[ways[0][0]] += 4
        total = weights.total()
        yield from ((word, [syllable], weight / total) for syllable, weight in sorted(weights.items()))


def build(training: list[Sentence]) -> dict[str, Any]:
    """Return the file's arrays; see service/speech/language.py for what they are for.

    `syllables`: names without tones, numbered from 1; `keys`: uint64 [n], sorted; `tones`: uint8 [n, 6]; `costs`:
    float16 [n]; `texts`: UTF-16 codes, uint16 [n, 6]; `pairs`: uint32 [m, 2] of numbers of words, n for begin and end;
    `gains`: float16 [m].
    """
    jieba.initialize()
    chinese = {w: n for w, n in jieba.dt.FREQ.items() if n and len(w) <= LONGEST and CHINESE.fullmatch(w)}
    listed = Counter({word: count for word, count in chinese.items() if count >= RAREST or len(word) == 1})
    parts = [jieba.lcut(part, HMM=False) for each in training for part in CHINESE.findall(each.text)]
    own = Counter(word for part in parts for word in part if len(word) <= LONGEST)
    share = {
        word: max(FLOOR, (1 - OWN) * listed[word] / listed.total() + OWN * own[word] / own.total())
        for word in {*listed, *own}
    }
    found = [(way, word, -math.log(share[word] * part)) for word, way, part in entries(listed | own, training)]
    names = sorted({syllable[:-1].replace("ü", "v") for way, _, _ in found for syllable in way})
    numbers = {name: number for number, name in enumerate(names, 1)}
    bases, tones, texts = (np.zeros((len(found), LONGEST), kind) for kind in (np.uint64, np.uint8, np.uint16))
    for row, (way, word, _) in enumerate(found):
        bases[row, : len(way)] = [numbers[syllable[:-1].replace("ü", "v")] for syllable in way]
        tones[row, : len(way)] = [int(syllable[-1]) for syllable in way]
        texts[row, : len(word)] = list(map(ord, word))
    keys, costs = packed(bases), np.array([cost for _, _, cost in found])
    order = np.lexsort((costs, keys))
    pairs, gains = followers(parts, [found[row][1] for row in order], share)
    return {
        "syllables": np.array(names),
        "keys": keys[order],
        "tones": tones[order],
        "costs": costs[order].astype(np.float16),
        "texts": texts[order],
        "pairs": np.array(pairs, np.uint32),
        "gains": np.array(gains, np.float16),
    }


def followers(
    parts: list[list[str]], words: list[str], share: dict[str, float]
) -> tuple[list[tuple[int, int]], list[float]]:
    """Return the pairs of numbers of words that follow each other, and how much less the second costs for that.

    The number after the last word stands for the begin and the end of a part.
    """
    numbers = defaultdict(list)
    for number, word in enumerate(words):
        numbers[word].append(number)
    numbers[""] = [len(words)]
    counts: Counter[tuple[str, str]] = Counter()
    for part in parts:
        counts.update(zip(["", *part], [*part, ""], strict=True))
    before: Counter[str] = Counter()
    for (first, _), count in counts.items():
        before[first] += count
    ends = sum(count for (_, second), count in counts.items() if not second) / counts.total()
    pairs, gains = [], []
    for (first, second), count in sorted(counts.items()):
        chance = share.get(second, ends)
        gain = math.log((1 - FOLLOWING) + FOLLOWING * count / before[first] / chance)
        if gain > 0:
            found = [(one, other) for one in numbers[first] for other in numbers[second]]
            pairs += found
            gains += [gain] * len(found)
    return pairs, gains


def main() -> None:
    """Make the file; models/speech/evaluate.py says what it gets wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    training, _ = read(parser.parse_args().folder)
    arrays = build(training)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(TARGET, **arrays)
    print(f"{len(arrays['keys'])} pronunciations, {len(arrays['pairs'])} pairs, {TARGET.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
