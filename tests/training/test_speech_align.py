"""models/speech/align.py: syllables are found where they are, and sentences are made of them."""

from typing import Any

import numpy as np
import pytest

from models.speech import align
from models.speech.data import Utterance
from models.speech.labels import LABELS, spell
from models.speech.network import HOP, STRIDE

FRAME = HOP * STRIDE
BLANK = len(LABELS) - 1


def scores(labels: list[int]) -> Any:
    """Return logarithms that are sure of a label in each frame."""
    return np.log(np.eye(len(LABELS), dtype=np.float32)[labels] + np.float32(1e-3))


def test_the_likeliest_way_goes_through_all_labels_in_order() -> None:
    first, second = spell("ma1")
    found = align.path(scores([BLANK, first, first, BLANK, second, BLANK]), [first, second])
    assert found.tolist() == [-1, 0, 0, -1, 1, -1]


def test_a_label_that_nobody_heard_gets_a_frame_all_the_same() -> None:
    first, second = spell("ma1")
    assert align.path(scores([first, first, first]), [first, second]).tolist() in ([0, 0, 1], [0, 1, 1])


def test_equal_labels_need_a_blank_between() -> None:
    label = spell("a1")[0]
    found = align.path(scores([label] * 5), [label, label])
    assert [place for place, before in zip(found, [None, *found], strict=False) if place != before] == [0, -1, 1]


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="too few frames"):
        align.path(scores([BLANK, BLANK]), spell("ma1") + spell("ma1"))


def utterance() -> tuple[Utterance, Any]:
    """Return two syllables, the first louder, with a pause between, and what a network would say about them."""
    samples = np.full(10 * FRAME, 9000, np.int16)
    samples[4 * FRAME : 6 * FRAME] = 10
    samples[6 * FRAME :] = 3000
    frames = [BLANK, *spell("ma1"), BLANK, BLANK, BLANK, *spell("bo2"), BLANK, BLANK]
    return Utterance("x", "normal", samples, ("ma1", "bo2")), scores(frames)


def test_recordings_are_cut_halfway_between_two_syllables() -> None:
    spoken, said = utterance()
    begin, middle, end = align.cuts(spoken, said)
    assert (begin, end) == (0, len(spoken.samples))
    assert middle == 4.5 * FRAME


def test_a_sentence_of_pieces_is_as_long_as_asked_and_says_its_syllables() -> None:
    spoken, said = utterance()
    pieces = align.Pieces([spoken] * 3, lambda samples, lengths: ([said] * 3, [len(said)] * 3))
    random = np.random.default_rng(1)
    for _ in range(20):
        made = pieces.sentence(1.0, random)
        assert 16000 <= len(made.samples) < 16000 + len(spoken.samples)
        assert set(made.syllables) <= set(spoken.syllables)
        for syllable, loudness in (("ma1", 9000), ("bo2", 3000)):
            heard = np.count_nonzero(abs(made.samples - loudness) < 1000)
            assert heard == pytest.approx(4 * FRAME * made.syllables.count(syllable), rel=0.05)


def test_what_is_too_fast_to_be_cut_is_left_out() -> None:
    spoken, said = utterance()
    hurried = spoken._replace(samples=spoken.samples[: 5 * FRAME], syllables=("wo3", "wo3"))
    answers = np.stack([np.pad(said[:5], ((0, 5), (0, 0))), said])
    pieces = align.Pieces([hurried, spoken], lambda samples, lengths: (answers, [5, 10]))
    assert not set(pieces.sentence(5, np.random.default_rng(1)).syllables) & {"wo3"}
