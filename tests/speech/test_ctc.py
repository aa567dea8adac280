"""Scores are read as syllables with times, and as what may have been said in their place."""

import numpy as np
import numpy.typing as npt
import pytest

from service.speech.ctc import Alternatives, Syllable, greedy

#: All syllables are said as often.
EVEN = np.full((9, 5), 0.1)
LABELS = ["n", "h", "i3", "ao3", "ao4", "_"]


def scores(said: str) -> npt.NDArray[np.float32]:
    """Return scores in which the labels named are the best, frame by frame."""
    best = [LABELS.index(label) for label in said.split()]
    return np.eye(len(LABELS), dtype=np.float32)[best] - 7


def test_labels_become_syllables_with_the_frames_they_were_heard_in() -> None:
    heard = greedy(scores("_ n n _ i3 i3 _ h ao3 _ _"), LABELS)
    assert heard == [Syllable("ni3", 1, 4, 6), Syllable("hao3", 7, 8, 9)]


def test_a_label_twice_with_a_blank_between_counts_twice() -> None:
    assert [each.name for each in greedy(scores("ao4 ao4 _ ao4"), LABELS)] == ["ao4", "ao4"]
    assert [each.name for each in greedy(scores("n ao3 n ao3"), LABELS)] == ["nao3", "nao3"]


def test_a_syllable_needs_no_initial() -> None:
    assert greedy(scores("ao3 ao4"), LABELS) == [Syllable("ao3", 0, 0, 1), Syllable("ao4", 1, 1, 2)]


def test_an_initial_without_a_final_is_dropped() -> None:
    assert greedy(scores("n h ao3 n"), LABELS) == [Syllable("hao3", 1, 2, 3)]


def test_labels_may_be_whole_syllables() -> None:
    whole = ["ni3", "hao3", "_"]
    assert [each.name for each in greedy(np.eye(3)[[0, 2, 1]], whole)] == ["ni3", "hao3"]


def test_silence_and_nothing_at_all_are_no_syllables() -> None:
    assert greedy(scores("_ _ _"), LABELS) == []
    assert greedy(np.zeros((0, len(LABELS)), np.float32), LABELS) == []


def costs(scores: npt.NDArray[np.floating], labels: list[str] = LABELS, *names: str) -> list[dict[str, float]]:
    """Return what each tonal syllable costs where one was heard; what costs too much is missing."""
    names = names or ("ni", "hao", "ao", "hi", "he")
    sounds = Alternatives(labels, names, EVEN[: len(names) + 1]).sounds(scores, greedy(scores, labels))
    return [
        {
            f"{names[number - 1]}{tone}": float(cost)
            for number, tones in zip(numbers, rows, strict=True)
            if number
            for tone, cost in enumerate(tones, 1)
            if np.isfinite(cost)
        }
        for numbers, rows in zip(sounds.syllables.tolist(), sounds.costs, strict=True)
    ]


def mixed(*frames: dict[str, float]) -> npt.NDArray[np.float32]:
    """Return logarithms of probabilities, frame by frame; the blank has what is left."""
    shares = np.full((len(frames), len(LABELS)), 1e-6, np.float32)
    for row, frame in zip(shares, frames, strict=True):
        row[[LABELS.index(label) for label in frame]] = list(frame.values())
        row[-1] = 1 - row[:-1].sum()
    return np.log(shares)


def test_what_was_heard_costs_nothing_and_what_is_nearly_as_likely_costs_little() -> None:
    (found,) = costs(mixed({}, {"h": 0.9, "n": 0.09}, {"ao3": 0.6, "ao4": 0.3}, {}))
    assert found["hao3"] == 0
    assert 0 < found["hao4"] < 1.5
    assert found["hao4"] < found.get("hi3", np.inf)


def test_a_label_counts_for_the_syllable_near_which_it_is_likely() -> None:
    first, second = costs(mixed({"h": 0.9}, {"ao3": 0.9}, {}, {}, {"h": 0.9}, {"ao3": 0.6, "ao4": 0.3}))
    assert first["hao4"] > 5 > second["hao4"]


def test_a_syllable_may_have_had_no_initial_or_one_that_was_not_heard() -> None:
    (found,) = costs(mixed({}, {"h": 0.55}, {"ao3": 0.9}))
    assert found["hao3"] < found["ao3"] < 1
    (found,) = costs(mixed({}, {"h": 0.45}, {"ao3": 0.9}))
    assert found["ao3"] < found["hao3"] < 1


def test_probabilities_and_logits_say_the_same_as_logarithms() -> None:
    logarithms = mixed({"h": 0.9}, {"ao3": 0.6, "ao4": 0.3})
    (expected,) = costs(logarithms)
    for same in (np.exp(logarithms), logarithms + 5, logarithms.astype(np.float64)):
        assert costs(same)[0] == pytest.approx(expected, abs=1e-3)


def test_a_neutral_tone_is_taken_for_another_at_a_small_cost() -> None:
    labels = ["m", *(f"a{tone}" for tone in "12345"), "_"]
    (found,) = costs(np.eye(7)[[0, 1]] * 20, labels, "ma")
    assert found["ma1"] == 0
    assert found["ma5"] < 3
    assert found["ma2"] > 10


def test_alternatives_among_labels_that_are_whole_syllables() -> None:
    logits = np.array([[0, 5, 4, 0, 3], [0, 0, 0, 0, 9.0]])
    (found,) = costs(logits, ["ni3", "hao3", "hao4", "a1", "_"], "ni", "hao", "a")
    assert found["hao3"] == 0
    assert 0 < found["hao4"] < found["ni3"]


def test_a_syllable_that_labels_cannot_spell_is_out_of_the_question() -> None:
    assert costs(scores("h ao3"), LABELS, "xyz", "h") == [{}]


def test_many_syllables_are_looked_at_as_few_are() -> None:
    few = mixed({"h": 0.9}, {"ao3": 0.6, "ao4": 0.3}, {}, {})
    assert costs(np.tile(few, (50, 1))) == [pytest.approx(costs(few)[0], abs=1e-4)] * 50


@pytest.mark.parametrize("odd", [np.nan, -np.inf, np.inf])
def test_scores_that_are_no_numbers_harm_nobody_else(odd: float) -> None:
    said = scores("n i3 _ _ h ao3")
    said[3] = odd
    said[0, 3] = odd
    assert all(np.isfinite(list(found.values())).all() for found in costs(said))
    assert costs(said)[-1] == pytest.approx(costs(scores("n i3 _ _ h ao3"))[-1], abs=1e-3)


def test_what_is_said_seldom_counts_more_than_the_score_that_a_frequent_one_has() -> None:
    heard = mixed({"h": 0.9}, {"ao3": 0.5, "ao4": 0.4})
    shares = np.array([[0] * 5, [0.1, 0.1, 0.5, 0.001, 0.3]])
    sounds = Alternatives(LABELS, ["hao"], shares).sounds(heard, greedy(heard, LABELS))
    assert sounds.costs[0, list(sounds.syllables[0]).index(1)].argmin() == 3


def test_nothing_heard_has_no_alternatives() -> None:
    assert costs(np.zeros((0, len(LABELS)))) == []
    assert costs(scores("_ _")) == []
