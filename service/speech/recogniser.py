"""Turns samples into syllables and text, with a model that scores labels.

Such a model has a file `assets.extra/labels.txt`: its labels, one a line, the blank last. Its signature takes
`samples`, FP32 [n, samples], and `lengths`, INT32 [n], and answers `scores`, FP32 [n, frames, labels], and `frames`,
INT32 [n]: how many of either count in each row. Beside the labels may lie the words of its language, see language.py.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from service.errors import InvalidRequest, NotSupported, TooLarge
from service.speech import cut
from service.speech.audio import RATE, Samples
from service.speech.ctc import Alternatives, Syllable, greedy
from service.speech.language import Language
from service.types import DEFAULT_SIGNATURE, Signatures, Tensors

T = TypeVar("T")

LABELS: Final = "assets.extra/labels.txt"
_LANGUAGE: Final = "assets.extra/language.npz"
#: Pieces are filled up to whole seconds, so that those of several callers fit into one batch.
_FILL: Final = RATE
#: Syllables that are written in one request: writing takes time of its own, which no deadline ends.
_MOST: Final = 2048

Compute = Callable[[Tensors], Awaitable[Tensors]]


class Sound(NamedTuple):
    """A syllable or a word, heard from second `begin` until `end`."""

    name: str
    begin: float
    end: float


class Transcript(NamedTuple):
    """What was said; of a model without a language the words are missing."""

    syllables: list[Sound]
    words: list[Sound]

    @property
    def text(self) -> str:
        """The words without anything between them, as Chinese is written."""
        return "".join(word.name for word in self.words)


class Heard(NamedTuple):
    """Scores [frames, labels], and the second at which each frame begins, and the last ends, [frames + 1]."""

    scores: npt.NDArray[Any]
    seconds: npt.NDArray[Any]

    def between(self, begin: float, end: float) -> "Heard":
        """Return the frames that begin from second `begin` on, but before `end`."""
        first, last = np.searchsorted(self.seconds[:-1], (begin, end))
        return Heard(self.scores[first:last], self.seconds[first : last + 1])


class Recogniser:
    """A speech model's labels and language."""

    def __init__(self, folder: Path) -> None:
        """Read the files of the model in `folder`. Raises OSError or ValueError."""
        self._labels = (folder / LABELS).read_text(encoding="utf-8").split()
        words = folder / _LANGUAGE
        self._language = language = Language(words) if words.is_file() else None
        self._alternatives = Alternatives(self._labels, language.syllables, language.shares()) if language else None
        #: Seconds of audio in a second, the most seen: what takes longer cannot be done however idle the model is.
        self._pace = 0.0

    @classmethod
    def of(cls, source: Path, signatures: Signatures) -> "Recogniser | None":
        """Return the recogniser of the model in a folder, or in a file there; None if it is not one of speech."""
        folder = source if source.is_dir() else source.parent
        signature = signatures.get(DEFAULT_SIGNATURE)
        named = signature and (set(signature.inputs), set(signature.outputs))
        speech = named == ({"samples", "lengths"}, {"scores", "frames"}) and (folder / LABELS).is_file()
        return cls(folder) if speech else None

    async def hear(self, samples: Samples, compute: Compute, seconds: float) -> Heard:
        """Return what the model says of the samples, however many they are; `compute` has it run.

        Raises TooLarge if that takes longer than `seconds`: at once, or after the first piece of all that it has heard.
        Raises whatever `compute` raises.
        """
        if not len(samples):
            return Heard(np.zeros((0, len(self._labels)), np.float32), np.zeros(1))
        deadline = time.monotonic() + seconds
        aside = asyncio.to_thread if len(samples) > cut.LONGEST else _at_once
        pieces = await aside(cut.pieces, samples)
        said = []
        for piece in pieces:  # one after the other: long audio leaves others their turns
            if len(pieces) > 1:
                self._check((len(samples) - piece.begin) / RATE, deadline - time.monotonic())
            said.append(await self._score(samples[piece.first : piece.last], compute))
        scores, begins = await aside(cut.joined, pieces, said)
        return Heard(scores, np.append(begins, len(samples) / RATE))

    def longest(self, seconds: float) -> float:
        """Return how many seconds of audio can be heard in `seconds`, infinity as long as nothing was heard."""
        return max(0.0, seconds) * self._pace if self._pace else math.inf

    def read(self, heard: Heard) -> Transcript:
        """Return what was said: the likeliest words, and their syllables. Without a language, the likeliest syllables.

        Where no word fits, its syllable is what was heard there.
        """
        spelled = greedy(heard.scores, self._labels)
        sounds = _timed(spelled, heard)
        if self._language is None or self._alternatives is None:
            return Transcript(sounds, [])
        alternatives = self._alternatives.sounds(heard.scores, spelled)
        words = self._language.likeliest(alternatives, [sound.name for sound in sounds])
        names = [name for word in words for name in word.syllables]
        return Transcript(
            [sound._replace(name=name) for sound, name in zip(sounds, names, strict=True)],
            [Sound(word.text, sounds[word.begin].begin, sounds[word.end - 1].end) for word in words],
        )

    def syllables(self, heard: Heard) -> list[Sound]:
        """Return the syllables heard, whatever words there are; which is less work."""
        return _timed(greedy(heard.scores, self._labels), heard)

    def write(self, syllables: Sequence[str]) -> str:
        """Return the text for syllables such as `ni3`. Raises InvalidRequest for what is none."""
        if self._language is None:
            raise NotSupported("the model has no language, only syllables")
        if len(syllables) > _MOST:
            raise InvalidRequest(f"{len(syllables)} syllables; at most {_MOST} are taken")
        for syllable in syllables:
            if not self._language.knows(syllable):
                raise InvalidRequest(f"{syllable[:32]!r} is no syllable of Mandarin")
        return "".join(word.text for word in self._language.words(syllables))

    def _check(self, audio: float, seconds: float) -> None:
        """Raise TooLarge if so many seconds of audio cannot be heard in so many seconds."""
        if audio > self.longest(seconds):
            needed = audio / self._pace
            raise TooLarge(f"{audio:.0f} s of audio would take {needed:.1f} s, and there are {seconds:.1f} s")

    async def _score(self, samples: Samples, compute: Compute) -> npt.NDArray[Any]:
        """Return the scores of one piece, [frames, labels]."""
        filled = np.zeros((1, max(1, -(-len(samples) // _FILL)) * _FILL), np.float32)
        filled[0, : len(samples)] = samples
        begun = time.monotonic()
        outputs = await compute({"samples": filled, "lengths": np.array([len(samples)], np.int32)})
        self._pace = max(self._pace, filled.shape[1] / RATE / max(time.monotonic() - begun, 1e-6))
        return outputs["scores"][0, : int(outputs["frames"][0])]


async def _at_once(work: Callable[..., T], *args: Any) -> T:
    return work(*args)


def _timed(syllables: Sequence[Syllable], heard: Heard) -> list[Sound]:
    return [Sound(each.name, float(heard.seconds[each.begin]), float(heard.seconds[each.end])) for each in syllables]
