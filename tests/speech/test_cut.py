"""Long audio is cut at pauses and what is said of the pieces is put together again."""

from itertools import pairwise

import numpy as np
import pytest

from service.speech.audio import RATE, Samples
from service.speech.cut import LONGEST, MARGIN, joined, pieces, quietest

FRAME = 480


def speech(seconds: float, *pauses: float) -> Samples:
    """Return noise with a pause of 0.3 s at each of the seconds named."""
    samples = np.random.default_rng(1).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)
    for pause in pauses:
        samples[int((pause - 0.15) * RATE) : int((pause + 0.15) * RATE)] *= 0.001
    return samples


@pytest.mark.parametrize("seconds", [0, 1e-4, 1, 16])
def test_what_a_model_takes_is_left_whole(seconds: float) -> None:
    samples = speech(seconds)
    (piece,) = pieces(samples)
    assert piece == (0, 0, len(samples), len(samples))


@pytest.mark.parametrize("seconds", [16.001, 17, 20, 24, 30.5, 61, 600])
def test_pieces_cover_everything_once_and_hear_their_neighbours(seconds: float) -> None:
    samples = speech(seconds)
    found = pieces(samples)
    assert (found[0].first, found[0].begin, found[-1].end, found[-1].last) == (0, 0, len(samples), len(samples))
    for piece in found:
        assert 0 < piece.last - piece.first <= LONGEST
        assert piece.end - piece.begin >= 2 * RATE
    for before, after in pairwise(found):
        assert before.end == after.begin
        assert (before.last, after.first) == (min(len(samples), before.end + MARGIN), after.begin - MARGIN)


def test_cuts_fall_into_pauses() -> None:
    found = pieces(speech(40, 5, 11, 21.5, 30))
    assert [piece.end / RATE for piece in found[:-1]] == pytest.approx([11, 21.5, 30], abs=0.1)


def test_of_a_long_silence_the_end_is_taken() -> None:
    assert quietest(np.zeros(4 * RATE, np.float32)) == pytest.approx(4 * RATE, abs=0.2 * RATE)
    assert quietest(np.zeros(1000, np.float32)) == 500


@pytest.mark.parametrize("seconds", [3, 20, 47.3])
def test_scores_of_the_pieces_are_joined_as_if_there_had_been_one(seconds: float) -> None:
    """What is said of each frame here is which frame of the whole it is."""
    samples = speech(seconds)
    found = pieces(samples)
    said = [(np.arange(-(-(piece.last - piece.first) // FRAME))[:, None] + piece.first / FRAME) for piece in found]
    whole, begins = joined(found, said)
    assert len(whole) == pytest.approx(len(samples) / FRAME, abs=len(found))
    assert whole[:, 0] == pytest.approx(begins * RATE / FRAME, abs=1)
    assert np.diff(begins) == pytest.approx(FRAME / RATE, abs=1.5 * FRAME / RATE)


def test_of_nothing_nothing_is_said() -> None:
    whole, begins = joined(pieces(speech(0)), [np.zeros((0, 5))])
    assert (whole.shape, begins.shape) == ((0, 5), (0,))
