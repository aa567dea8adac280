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
from service.speech.recogniser import Recogniser
from tests.speech import words

#: What the puppet hears in every recording; of the right syllables one has another tone, and one is missing.
HEARD = ("ni3", "hao4", "ma5")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    entries = [("你", "ni3", 0.1), ("好", "hao3", 0.1), ("号", "hao4", 0.1), ("吗", "ma5", 0.1), ("妈", "ma1", 0.1)]
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra/labels.txt").write_text("\n".join(LABELS))
    words.write(tmp_path / "assets.extra/language.npz", [*entries, ("毫", "hao2", 0.05), ("你好", "ni3 hao3", 0.1)])
    return tmp_path


@pytest.fixture
def recogniser(folder: Path) -> Recogniser:
    return Recogniser(folder)


@pytest.fixture
def language(folder: Path) -> Language:
    return Language(folder / "assets.extra/language.npz")


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


def test_a_recording_is_measured_by_its_syllables_and_by_its_characters(recogniser: Recogniser) -> None:
    right = spoken("slow", "ni3", "hao3", "ma5", "ma1")
    rates = evaluate.measured(model, recogniser, [(right, "你好吗妈")], evaluate.CONDITIONS["room, 0.4 s"])
    assert rates == pytest.approx((2 / 4, 1 / 4, 2 / 4, 2 / 4))


def test_syllables_are_counted_as_the_words_say_and_as_they_sound(recogniser: Recogniser) -> None:
    def unsure(samples: Any, lengths: Any) -> tuple[Any, Any]:
        scores, frames = model(samples, lengths)
        scores[:, :, LABELS.index("ao3")] = 0.9 * scores[:, :, LABELS.index("ao4")]
        return np.log(scores + 1e-3), frames

    right = spoken("slow", "ni3", "hao3", "ma5")
    rates = evaluate.measured(unsure, recogniser, [(right, "你好吗")], evaluate.CONDITIONS["clean"])
    assert rates == pytest.approx((0, 0, 0, 1 / 3))


def test_the_table_has_every_condition_and_of_every_speed_its_own_errors(recogniser: Recogniser) -> None:
    pairs = [(spoken("normal", *HEARD), "你号吗"), (spoken("slow", "ma5"), "吗")]
    lines = list(evaluate.table(model, recogniser, pairs))
    assert len(lines) == 2 + len(evaluate.CONDITIONS)
    assert lines[2] == "| clean | 0.0% | 0.0% | 0.0% | 0.0% | 200.0% | 200.0% | 200.0% | 200.0% |"
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
