"""Prints what the recogniser gets wrong on the held-out sentences: `python -m models.speech.evaluate FOLDER`.

For the exported model by speed and disturbance: tonal syllables, those without their tones, and characters, read as the
service does it, by the likeliest words; and tonal syllables read greedily, by the best label of each frame. For the
words alone: the characters that they make of true pinyin.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

from models.speech import sentences
from models.speech.augment import Floats, Random, babble, in_room, mixed, noise
from models.speech.data import SPEEDS, Utterance, floats, read, split
from models.speech.decode import Scores, error_rate, error_rates, scored
from models.speech.sentences import Sentence
from service.speech.language import Language
from service.speech.recogniser import Heard, Recogniser, Transcript

HERE: Final = Path(__file__).resolve().parent

#: What is counted: as the service reads the scores, and greedily.
KINDS: Final = ("syllables", "without tones", "characters", "syllables greedily")

Disturbance = Callable[[Floats, Sequence[Floats], Random], Floats]


def _noisy(decibels: float) -> Disturbance:
    return lambda samples, _, random: mixed(samples, noise("pink", len(samples), random), decibels)


def _among_others(decibels: float) -> Disturbance:
    def disturb(samples: Floats, voices: Sequence[Floats], random: Random) -> Floats:
        chosen = [voices[number] for number in random.integers(len(voices), size=4)]
        return mixed(samples, babble(chosen, len(samples), random), decibels)

    return disturb


CONDITIONS: Final[dict[str, Disturbance]] = {
    "clean": lambda samples, *_: samples,
    "room, 0.4 s": lambda samples, _, random: in_room(samples, 0.4, 0.5, random),
    **{f"pink noise, {decibels} dB": _noisy(decibels) for decibels in (20, 10, 5)},
    **{f"four other voices, {decibels} dB": _among_others(decibels) for decibels in (20, 10, 5)},
}


def load(folder: Path) -> Callable[[Floats, Any], tuple[Any, Any]]:
    """Return the SavedModel in `folder` as a function of samples and lengths."""
    loaded = tf.saved_model.load(str(folder))

    def model(samples: Floats, lengths: Any) -> tuple[Any, Any]:
        found = loaded.signatures["serving_default"](samples=tf.constant(samples), lengths=tf.constant(lengths))
        return found["scores"], found["frames"]

    return model


def written(language: Language, syllables: Sequence[str]) -> str:
    """Return the characters for a sentence's syllables."""
    return "".join(word.text for word in language.words(syllables))


def read_by(recogniser: Recogniser, scores: Scores) -> tuple[Transcript, list[str]]:
    """Return what the service makes of a recording's scores, and the syllables of the best labels alone."""
    heard = Heard(scores, np.arange(len(scores) + 1))
    return recogniser.read(heard), [syllable.name for syllable in recogniser.syllables(heard)]


def measured(
    model: Callable[..., Any],
    recogniser: Recogniser,
    spoken: Sequence[tuple[Utterance, str]],
    disturb: Disturbance,
) -> tuple[float, float, float, float]:
    """Return what is wrong of utterances when disturbed, alike on every call, in the order of `KINDS`.

    Each utterance comes with its characters.
    """
    random = np.random.default_rng(7)
    voices = [floats(utterance) for utterance, _ in spoken]
    scores = scored(model, [disturb(voice, voices, random) for voice in voices])
    transcripts, greedy = zip(*(read_by(recogniser, each) for each in scores), strict=True)
    right = [utterance.syllables for utterance, _ in spoken]
    return (
        *error_rates(right, [[syllable.name for syllable in each.syllables] for each in transcripts]),
        error_rate([text for _, text in spoken], [transcript.text for transcript in transcripts]),
        error_rate(right, greedy),
    )


def table(model: Callable[..., Any], recogniser: Recogniser, spoken: Sequence[tuple[Utterance, str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table: conditions down; errors of each speed across."""
    heads = ["", *(f"{speed}, {kind}" for speed in SPEEDS for kind in KINDS)]
    yield _line(heads)
    yield _line(["---"] * len(heads))
    for name, disturb in CONDITIONS.items():
        alike = ([pair for pair in spoken if pair[0].speed == speed] for speed in SPEEDS)
        rates = [rate for pairs in alike for rate in measured(model, recogniser, pairs, disturb)]
        yield _line([name, *(f"{rate:.1%}" for rate in rates)])


def pace(model: Callable[..., Any], recogniser: Recogniser, recordings: Sequence[Floats]) -> str:
    """Return a sentence on how fast scores are read."""
    scores = scored(model, recordings)
    begun = time.perf_counter()
    for each in scores:
        read_by(recogniser, each)
    return f"Reading the scores takes {1000 * (time.perf_counter() - begun) / len(scores):.1f} ms a sentence."


def writing(language: Language, said: Sequence[Sentence]) -> str:
    """Return a sentence on what the language makes of true pinyin, with tones and without, and how fast."""
    right = [sentence.characters() for sentence in said]
    begun = time.perf_counter()
    texts = [written(language, sentence.syllables) for sentence in said]
    each = (time.perf_counter() - begun) / len(said)
    plain = [written(language, [syllable[:-1] for syllable in sentence.syllables]) for sentence in said]
    return (
        f"Out of true pinyin {error_rate(right, texts):.1%} of {sum(map(len, right))} characters are wrong,"
        f" {error_rate(right, plain):.1%} out of pinyin without tones; {1000 * each:.1f} ms a sentence."
    )


def main() -> None:
    """Measure the model in `1/` and its language on the data set in the folder named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the data set: sentences.json, normal.zip, slow.zip")
    folder = parser.parse_args().folder
    model, recogniser, words = load(HERE / "1"), Recogniser(HERE / "1"), HERE / "1/assets.extra/language.npz"
    held_out = sentences.read(folder)[1]
    texts = {sentence.name: sentence.characters() for sentence in held_out}
    spoken = [(utterance, texts[utterance.name]) for utterance in split(read(folder))[1]]
    for line in table(model, recogniser, spoken):
        print(line, flush=True)
    print(f"\n{pace(model, recogniser, [floats(utterance) for utterance, _ in spoken])}")
    print(f"{writing(Language(words), held_out)} The words take {words.stat().st_size / 1e6:.1f} MB.")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
