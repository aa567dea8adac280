"""Syllables are written in the words that are likeliest, those before them considered."""

from pathlib import Path

import numpy as np
import pytest

from service.speech.ctc import Sounds
from service.speech.language import Language, Word
from tests.speech import words

#: Each word with its syllables and its share of all words.
WORDS = [
    ("你", "ni3", 0.2),
    ("泥", "ni2", 0.001),
    ("好", "hao3", 0.1),
    ("号", "hao4", 0.1),
    ("你好", "ni3 hao3", 0.05),
    ("吗", "ma5", 0.05),
    ("妈", "ma1", 0.06),
    ("马", "ma3", 0.04),
    ("是", "shi4", 0.2),
    ("事", "shi4", 0.1),
    ("北", "bei3", 0.01),
    ("京", "jing1", 0.01),
    ("北京", "bei3 jing1", 0.01),
    ("虐", "nve4", 0.01),
]
#: 事 is what follows 好, however rare it is; and 妈 begins a sentence.
PAIRS = [("好", "事", 3.0), ("", "妈", 2.0), ("吗", "", 3.0)]


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Language:
    path = tmp_path_factory.mktemp("language") / "language.npz"
    words.write(path, WORDS, PAIRS)
    return Language(path)


def written(language: Language, syllables: str) -> str:
    return "".join(word.text for word in language.words(syllables.split()))


def test_words_are_found_with_the_syllables_they_cover(language: Language) -> None:
    words = [Word("北京", 0, 2, ["bei3", "jing1"]), Word("好", 2, 3, ["hao3"])]
    assert language.words(["bei3", "jing1", "hao3"]) == words


@pytest.mark.parametrize(
    ("syllables", "text", "why"),
    [
        ("ni3 hao3", "你好", "one likely word beats two"),
        ("shi4", "是", "the more usual of two that sound the same"),
        ("ma3 hao3", "马好", "the tone tells words apart"),
        ("hao3 ma5", "好吗", "neutral tone"),
        ("hao3 shi4", "好事", "the word before makes it likely"),
        ("ma5 hao3", "妈好", "what begins a sentence, although its tone is not neutral"),
        ("hao3 ma1", "好吗", "what ends a sentence, although its tone is neutral"),
        ("ni2 hao3", "你好", "the tone that the word had before another changed it"),
        ("NI3 hao", "你好", "letters of any case, and no tone"),
        ("shi1", "是", "a tone that no word has"),
        ("nve4 nüe4 nue4", "虐虐虐", "the letter ü however it is written"),
        ("hm5 hao3", "hm5好", "a syllable without a word is written as it is"),
        ("", "", "nothing"),
    ],
)
def test_the_likeliest_words_are_written(language: Language, syllables: str, text: str, why: str) -> None:
    assert written(language, syllables) == text, why


@pytest.mark.parametrize("syllable", ["xyz1", "ni6", "", "ni3hao3", "你", "n" * 10_000, "3"])
def test_what_is_no_syllable_is_known_to_be_none_and_written_as_it_is(language: Language, syllable: str) -> None:
    assert not language.knows(syllable)
    assert [word.text for word in language.words(["ni3", syllable, "hao3"])] == ["你", syllable, "好"]


def test_syllables_are_known(language: Language) -> None:
    assert all(language.knows(syllable) for syllable in ("ni3", "hm5", "Hao", "hao1"))


def likeliest(language: Language, *places: dict[str, float]) -> list[Word]:
    """Return the words where each place may be one of some syllables, each with its cost."""
    sounds = Sounds(np.zeros((len(places), 3), np.int64), np.full((len(places), 3, 5), np.inf, np.float32))
    for place, costs in enumerate(places):
        names = sorted({syllable[:-1] for syllable in costs})
        for syllable, cost in costs.items():
            column = names.index(syllable[:-1])
            sounds.syllables[place, column] = language.syllables.index(syllable[:-1]) + 1
            sounds.costs[place, column, int(syllable[-1]) - 1] = cost
    return language.likeliest(sounds, [min(costs, key=costs.__getitem__) if costs else "?" for costs in places])


def test_it_is_known_how_often_each_syllable_is_said(language: Language) -> None:
    shares = language.shares()
    assert shares.sum() == pytest.approx(1)
    said = sum(share * len(syllables.split()) for _, syllables, share in WORDS)
    assert shares[language.syllables.index("hao") + 1] == pytest.approx(np.array([0, 0, 0.15, 0.1, 0]) / said, rel=0.01)
    assert shares[0].sum() == shares[language.syllables.index("hm") + 1].sum() == 0


def test_a_word_settles_what_was_unsure(language: Language) -> None:
    unsure = {"ni3": 1.0, "ni2": 0.0}, {"hao4": 0.0, "hao3": 0.5, "ma3": 1.0}
    assert likeliest(language, *unsure) == [Word("你好", 0, 2, ["ni3", "hao3"])]


def test_a_frequent_word_does_not_overrule_a_sure_sound(language: Language) -> None:
    words = likeliest(language, {"nve4": 0.0, "shi4": 9.0}, {"ni2": 0.0, "ni3": 9.0})
    assert [word.text for word in words] == ["虐", "泥"]


def test_where_no_word_fits_stands_what_was_heard(language: Language) -> None:
    assert likeliest(language, {"ni3": 0.0}, {}, {"hm2": 0.0}) == [
        Word("你", 0, 1, ["ni3"]),
        Word("?", 1, 2, ["?"]),
        Word("hm2", 2, 3, ["hm2"]),
    ]
    assert likeliest(language) == []


def test_what_follows_in_the_file_counts_among_alternatives(language: Language) -> None:
    either = {"shi4": 0.0, "ma3": 0.0}
    assert "".join(word.text for word in likeliest(language, {"hao3": 0.0}, either)) == "好事"


def test_many_places_are_read_as_few_are(language: Language) -> None:
    few = [{"ni3": 1.0, "ni2": 0.0}, {"hao4": 0.0, "hao3": 0.5}, {"shi4": 0.0}] * 3
    words = likeliest(language, *few * 40)
    assert "".join(word.text for word in words) == "".join(word.text for word in likeliest(language, *few)) * 40
    assert [word.begin for word in words[1:]] == [word.end for word in words[:-1]]


def test_the_longest_text_is_written_as_its_parts_are(language: Language) -> None:
    assert written(language, "ni3 hao3 " * 2000) == "你好" * 2000


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "language.npz"
    path.write_bytes(b"nothing of that kind")
    with pytest.raises(ValueError, match="pickle"):
        Language(path)
    np.savez(path, keys=np.zeros(1))
    with pytest.raises(KeyError):
        Language(path)
