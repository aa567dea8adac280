"""models/speech: what is measured of a recogniser, in syllables and in characters."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.speech import decode, evaluate, sentences
from models.speech.data import Utterance, split
from models.speech.labels import LABELS, spell
from service.speech.language import Language
from tests.speech import words

#: What the puppet hears in every recording; of the right syllables one has another tone, and one is missing.
HEARD = ("ni3", "hao4", "ma5")


@pytest.fixture
def language(tmp_path: Path) -> Language:
    entries = [("你", "ni3", 0.1), ("好", "hao3", 0.1), ("号", "hao4", 0.1), ("吗", "ma5", 0.1), ("妈", "ma1", 0.1)]
    words.write(tmp_path / "words.npz", [*entries, ("毫", "hao2", 0.05)])
    return Language(tmp_path / "words.npz")


def model(samples: Any, lengths: Any) -> tuple[Any, Any]:
    """Hear the same in whatever it is given."""
    labels = [label for syllable in HEARD for label in (*spell(syllable), len(LABELS) - 1)]
    scores = np.eye(len(LABELS), dtype=np.float32)[labels]
    return np.repeat(scores[None], len(samples), axis=0), np.full(len(samples), len(labels))


def spoken(speed: str, *syllables: str) -> Utterance:
    return Utterance("a", speed, np.arange(800, dtype=np.int16), syllables)


def test_characters_that_are_wrong_are_a_share_of_the_right_ones() -> None:
    assert decode.error_rate(["你好", "吗"], ["你号", "妈妈"]) == pytest.approx(3 / 3)
    with pytest.raises(ValueError, match="shorter"):
        decode.error_rate(["你好", "吗"], ["你好"])


def test_a_recording_is_measured_by_its_syllables_and_by_its_characters(language: Language) -> None:
    right = spoken("slow", "ni3", "hao3", "ma5", "ma1")
    rates = evaluate.measured(model, language, [(right, "你好吗妈")], evaluate.CONDITIONS["room, 0.4 s"])
    assert rates == pytest.approx((2 / 4, 1 / 4, 2 / 4))


def test_the_table_has_every_condition_and_of_every_speed_its_own_errors(language: Language) -> None:
    pairs = [(spoken("normal", *HEARD), "你号吗"), (spoken("slow", "ma5"), "吗")]
    lines = list(evaluate.table(model, language, pairs))
    assert len(lines) == 2 + len(evaluate.CONDITIONS)
    assert lines[2] == "| clean | 0.0% | 0.0% | 0.0% | 200.0% | 200.0% | 200.0% |"
    assert len({line.count("|") for line in lines}) == 1


def test_what_words_make_of_true_pinyin_is_told(language: Language) -> None:
    said = [sentences.Sentence("a", "你号、吗。", HEARD), sentences.Sentence("b", "毫", ("hao2",))]
    assert evaluate.writing(language, said).startswith(
        "Out of true pinyin 0.0% of 4 characters are wrong, 50.0% out of pinyin without tones; "
    )


def test_the_same_sentences_are_held_out_as_texts_and_as_recordings(tmp_path: Path) -> None:
    texts = [{"id": str(number), "text": "你、好。", "pinyin": f"ni{number % 5 + 1} hao3"} for number in range(1000)]
    (tmp_path / "sentences.json").write_text(json.dumps(texts))
    silence = np.zeros(0, np.int16)
    recordings = [Utterance(each["id"], "slow", silence, tuple(each["pinyin"].split())) for each in texts]
    for said, heard in zip(sentences.read(tmp_path), split(recordings), strict=True):
        assert [each.name for each in said] == [each.name for each in heard]
    assert {each.characters() for each in sentences.read(tmp_path)[1]} == {"你好"}
