"""Scores are read as syllables with times."""

import numpy as np
import numpy.typing as npt

from service.speech.ctc import Syllable, greedy

LABELS = ["n", "h", "i3", "ao3", "ao4", "_"]


def scores(said: str) -> npt.NDArray[np.float32]:
    """Return scores in which the labels named are the best, frame by frame."""
    best = [LABELS.index(label) for label in said.split()]
    return np.eye(len(LABELS), dtype=np.float32)[best] - 7


def test_labels_become_syllables_with_the_frames_they_were_heard_in() -> None:
    heard = greedy(scores("_ n n _ i3 i3 _ h ao3 _ _"), LABELS)
    assert heard == [Syllable("ni3", 1, 6), Syllable("hao3", 7, 9)]


def test_a_label_twice_with_a_blank_between_counts_twice() -> None:
    assert [each.name for each in greedy(scores("ao4 ao4 _ ao4"), LABELS)] == ["ao4", "ao4"]
    assert [each.name for each in greedy(scores("n ao3 n ao3"), LABELS)] == ["nao3", "nao3"]


def test_a_syllable_needs_no_initial() -> None:
    assert greedy(scores("ao3 ao4"), LABELS) == [Syllable("ao3", 0, 1), Syllable("ao4", 1, 2)]


def test_an_initial_without_a_final_is_dropped() -> None:
    assert greedy(scores("n h ao3 n"), LABELS) == [Syllable("hao3", 1, 3)]


def test_labels_may_be_whole_syllables() -> None:
    whole = ["ni3", "hao3", "_"]
    assert [each.name for each in greedy(np.eye(3)[[0, 2, 1]], whole)] == ["ni3", "hao3"]


def test_silence_and_nothing_at_all_are_no_syllables() -> None:
    assert greedy(scores("_ _ _"), LABELS) == []
    assert greedy(np.zeros((0, len(LABELS)), np.float32), LABELS) == []
