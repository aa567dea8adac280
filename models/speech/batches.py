"""Batches for training, made in a thread while the network is busy."""

import queue
import threading
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.speech.align import Pieces
from models.speech.augment import Floats, Random, disturbed
from models.speech.data import Utterance, floats
from models.speech.labels import spell

ROWS: Final = 16
#: So many batches are sorted by length together, so that little is padding.
_SORTED_TOGETHER: Final = 24
_GRAIN: Final = 4800


class Batch(NamedTuple):
    """Samples FP32 [n, samples] with their lengths [n], labels as a sparse tensor's indices [k, 2] and values [k]."""

    samples: Floats
    lengths: NDArray[np.int32]
    indices: NDArray[np.int64]
    values: NDArray[np.int32]


def pack(rows: Sequence[Floats], syllables: Sequence[Sequence[str]]) -> Batch:
    """Return rows of different lengths as one batch, padded with zeros."""
    lengths = np.array([len(row) for row in rows], np.int32)
    samples = np.zeros((len(rows), -(-max(lengths) // _GRAIN) * _GRAIN), np.float32)
    labels = [[label for syllable in row for label in spell(syllable)] for row in syllables]
    for row, values in enumerate(rows):
        samples[row, : len(values)] = values
    indices = [(row, place) for row, values in enumerate(labels) for place in range(len(values))]
    return Batch(samples, lengths, np.array(indices, np.int64), np.array([*chain.from_iterable(labels)], np.int32))


def epoch(utterances: Sequence[Utterance], pieces: Pieces | None, random: Random) -> Iterator[Batch]:
    """Yield batches, disturbed, of every recording once; two in three are replaced by sentences of `pieces`, if any."""

    def voice() -> Floats:
        return floats(utterances[int(random.integers(len(utterances)))])

    order = random.permutation(len(utterances))
    for start in range(0, len(order), ROWS * _SORTED_TOGETHER):
        together = [utterances[number] for number in order[start : start + ROWS * _SORTED_TOGETHER]]
        if pieces:
            count = 2 * len(together) // 3
            together[:count] = [pieces.sentence(random.uniform(1, 2.5), random) for _ in range(count)]
        together.sort(key=lambda utterance: len(utterance.samples))
        batches = [together[first : first + ROWS] for first in range(0, len(together), ROWS)]
        for number in random.permutation(len(batches)):
            rows = batches[number]
            yield pack([disturbed(floats(row), voice, random) for row in rows], [row.syllables for row in rows])


def ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield the same batches, made a few in advance by a thread."""
    made: queue.Queue[Batch | BaseException | None] = queue.Queue(8)

    def work() -> None:
        try:
            for batch in batches:
                made.put(batch)
            made.put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where batches are taken
            made.put(error)

    threading.Thread(target=work, name="batches", daemon=True).start()
    while (batch := made.get()) is not None:
        if isinstance(batch, BaseException):
            raise batch
        yield batch
