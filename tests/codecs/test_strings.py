"""service/codecs/strings.py: in steps, strings are read as the parser reads them in one go, and nothing else is."""

import json
from typing import Any

import numpy as np
import pytest

from service.codecs import jsontensor, steps, strings
from service.errors import InvalidRequest
from service.types import Array
from tests.codecs.forms import ELEMENTS, document, random_array, same

BYTES = ELEMENTS["object"]
STEPS = pytest.mark.parametrize("step", [2, 5, 40, steps.STEP])


def built(text: bytes) -> Array | None:
    """Return what is made of the whole text at once, or None if that is no array of strings."""
    try:
        return jsontensor.build(json.loads(text), BYTES)
    except (ValueError, InvalidRequest):
        return None


def written(random: np.random.Generator) -> bytes:
    """Return an array of strings and of objects in base 64 as JSON, laid out somehow."""
    shape = tuple(int(size) for size in random.integers(1, 4, random.integers(4)))
    value = document(random_array(random, BYTES, shape))

    def mixed(value: Any) -> Any:
        if isinstance(value, list):
            return [mixed(item) for item in value]
        return value if random.integers(2) else 'a "b", [\\] {"b64": ä}'[: random.integers(23)]

    return json.dumps(
        mixed(value), indent=1 if random.integers(2) else None, ensure_ascii=bool(random.integers(2))
    ).encode()


@STEPS
def test_strings_are_read_in_steps_as_at_once(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(steps, "STEP", step)
    random = np.random.default_rng(step)
    for _ in range(200):
        text = written(random)
        found, expected = strings.read(text), built(text)
        assert found is not None
        assert expected is not None
        assert same(found, expected), text


@STEPS
def test_nothing_else_is_read(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Over random damage to good texts."""
    monkeypatch.setattr(steps, "STEP", step)
    random = np.random.default_rng(step)
    pieces = [
        b"",
        b"],[",
        b"[]",
        b",",
        b'"',
        b"\\",
        b'"a"',
        b'{"b64":"AA=="}',
        b"{",
        b"}",
        b":",
        b"1",
        b"null",
        b"\xff",
    ]
    taken = {True: 0, False: 0}
    for _ in range(3000):
        text = bytearray(written(random))
        start = random.integers(len(text))
        text[start : start + random.integers(0, 2)] = pieces[random.integers(len(pieces))]
        found, expected = strings.read(bytes(text)), built(bytes(text))
        assert found is None or (expected is not None and same(found, expected)), text
        taken[found is not None] += 1
    assert min(taken.values()) > 50


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"",
            b"[",
            b"[]",
            b'["a"',
            b'["a",]',
            b'["a" "b"]',
            b'["a",["b"]]',
            b'[["a"],["b","c"]]',
            b'["a",1]',
            b"null",
        ),
        *(b'[{"b64":"?"}]', b'[{"b32":"AA=="}]', b'[{"b64":"AA==","b64":"AA=="}]', b'["a"]x', b'["\n"]', b'["\\x"]'),
    ],
)
def test_what_is_no_array_of_strings_is_not_read(text: bytes) -> None:
    assert strings.read(text) is None


@pytest.mark.parametrize("text", [b"[" * 3_000_000, b"[" * 20 + b'"a"' + b"]" * 20])
def test_deep_lists_are_not_read(text: bytes) -> None:
    assert strings.read(text) is None


def test_no_call_of_the_parser_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large texts are read in this way, and only strings longer than a step are longer."""
    sizes = []

    class Parser:
        def decode(self, text: bytes) -> Any:
            sizes.append(len(text))
            return json.loads(text)

    monkeypatch.setattr(strings, "_strings", Parser())
    values = [["some", "words, of \\ a text"]] * 50_000
    found = jsontensor.read(json.dumps(values).encode(), BYTES, 2)
    assert found is not None
    assert found.shape == (50_000, 2)
    assert found[-1].tolist() == [b"some", b"words, of \\ a text"]
    assert len(sizes) > 8
    assert max(sizes) <= steps.STEP
