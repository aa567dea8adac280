"""service/codecs/steps.py: nothing is lost between two steps, and no step takes a string for what it is not."""

import json

import numpy as np
import pytest

from service.codecs import steps

#: What strings are made of to mislead: quotes, backslashes, what lists and numbers are made of.
PIECES = ['"', "\\", "\\\\", '\\"', ",", "[", "]", "{", ":", "NaN", "a", "ä", "\n", " " * 9]


def text_of(random: np.random.Generator) -> tuple[bytes, list[bytes]]:
    """Return a JSON document, and the strings in it."""
    strings = ["".join(random.choice(PIECES, random.integers(6))) for _ in range(random.integers(1, 9))]
    values = [*strings, *random.integers(-999, 999, random.integers(9)).tolist(), float("nan")]
    random.shuffle(values)
    ascii_only = bool(random.integers(2))
    written = [json.dumps(one, ensure_ascii=ascii_only).encode() for one in values if isinstance(one, str)]
    return json.dumps([values, {"k": values[0]}], ensure_ascii=ascii_only).encode(), written


@pytest.mark.parametrize("step", [2, 3, 7, 30, steps.STEP])
def test_strings_are_told_from_what_is_between_them(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(steps, "STEP", step)
    random = np.random.default_rng(step)
    for _ in range(300):
        text, written = text_of(random)
        found, whole = [], b""
        for others, strings in steps.apart(text):
            assert len(others) == len(strings) + 1
            assert b'"' not in b"".join(others)
            whole += b"".join(part for pair in zip(others, [*strings, b""], strict=True) for part in pair)
            found += strings
        assert whole == text
        assert found[: len(written)] == written


@pytest.mark.parametrize("step", [12, 20, 64])
def test_no_number_and_no_word_is_in_two_steps(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(steps, "STEP", step)
    text = json.dumps([float("nan"), -float("inf"), 12345, "a,b", float("nan")] * 50).encode()
    words = [word for others, _ in steps.apart(text) for part in others for word in part.strip(b"[] ,").split(b", ")]
    assert {word for word in words if word} == {b"NaN", b"-Infinity", b"12345"}


@pytest.mark.parametrize("text", [b'["a', b'["a\\', b'["a\\"', b'"', b'["a", "' + b"b" * 99, b'["' + b'\\"' * 99])
def test_a_string_without_an_end_is_handed_on_as_it_is(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    for step in (4, 200):
        monkeypatch.setattr(steps, "STEP", step)
        parts = [b"".join([*others, *strings]) for others, strings in steps.apart(text)]
        assert sorted(b"".join(parts)) == sorted(text)


@pytest.mark.parametrize("unit", [b'\\"', b"\\\\", b"a", b'"', b",", b'",', b'"\\', b"[", b" "])
def test_no_text_takes_long(unit: bytes) -> None:
    """What is looked at twice, or for each of its quotes, would take minutes."""
    text = b'["' + unit * ((1 << 22) // len(unit))
    assert sum(len(part) for others, strings in steps.apart(text) for part in (*others, *strings)) == len(text)


@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_text_is_cut_at_separators_alone(size: int) -> None:
    for text in (b"", b"&", b"a", b"a&b", b"&&", b"abc&" * 20, b"a" * 50):
        pieces = list(steps.cut(text, b"&", size))
        assert b"&".join(pieces) == text
        assert all(len(piece) >= size for piece in pieces[:-1])
        assert all(b"&" not in piece[size:] for piece in pieces)
