"""service/codecs/jsontensor.py: nested lists, right and wrong."""

import gc
import json
import weakref
from typing import Any

import numpy as np
import pytest

from service.codecs import jsontensor
from service.errors import InvalidRequest
from service.types import TensorSpec
from tests.codecs.forms import ELEMENTS, FLOAT, same, spec


def refused(value: Any, element: str = "float32") -> str:
    with pytest.raises(InvalidRequest) as caught:
        jsontensor.build(value, ELEMENTS[element])
    return str(caught.value)


def not_parsed(text: bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        jsontensor.loads(text)
    return str(caught.value)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("element", ["float16", "float32", "float64", "int8", "int64", "uint64", "bool"])
def test_what_is_read_quickly_is_built_alike(element: str, rank: int) -> None:
    """Over random lists, some ragged, some too deep, some of odd values: `read` takes nothing that `build` does not."""
    random = np.random.default_rng(rank)
    scalars = ["0", "1", "-1", "7", "1.5", "-0.0", "1e3", "1e-320", "3e38", "4e38", "255", "256", str(2**63), "9" * 25]
    scalars += ["true", "false"] * (8 if element == "bool" else 1) + ["null", '"1"', "NaN"]
    plain = {"bool": ["true", "false"], "uint64": ["0", "12", str(2**64 - 1)]}.get(element, ["0", "1", "-7", "100"])

    def text(depth: int) -> str:
        if depth == 0 or random.integers(60) == 0:
            return str(random.choice(scalars if random.integers(12) == 0 else plain))
        count = 2 + int(random.integers(40) == 0)
        return f"[{', '.join(text(depth - 1) for _ in range(count))}]"

    taken = 0
    for _ in range(500):
        document = text(rank).encode()
        array = jsontensor.read(document, ELEMENTS[element], rank)
        if array is not None:
            taken += 1
            assert same(array, jsontensor.build(jsontensor.loads(document), ELEMENTS[element])), document
    assert 50 < taken < 500


@pytest.mark.parametrize("rank", [-1, 0, 17, 10**9])
def test_unusual_ranks_are_not_read_quickly(rank: int) -> None:
    assert jsontensor.read(b"[1.0]", FLOAT, rank) is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b'["a", {"b64": "/w=="}, "\\u00e4"]', [b"a", b"\xff", "ä".encode()]),
        (b'["a", 1]', None),
        (b'["\\ud800"]', None),
        (b'["a\x01"]', None),
        (b'["a"', None),
        (b'["\xff"]', None),
        (b'[["a"], []]', None),
        (b"[" * 100_000, None),
    ],
)
def test_strings_are_read_quickly_where_nothing_is_wrong(text: bytes, values: Any) -> None:
    array = jsontensor.read(text, ELEMENTS["object"], 1)
    assert (array if array is None else array.tolist()) == values


@pytest.mark.parametrize(
    ("value", "shape"),
    [(1, ()), ([], (0,)), ([[], []], (2, 0)), ([[[1]], [[2]]], (2, 1, 1)), ([[1, 2, 3]], (1, 3))],
)
def test_nesting_is_the_shape(value: Any, shape: tuple[int, ...]) -> None:
    assert jsontensor.build(value, FLOAT).shape == shape


@pytest.mark.parametrize(
    "value", [[[1, 2], [3]], [[1], 2], [1, [2]], [[], [1]], [[[1]], [1]], [[1, 2], [[3, 4], [5, 6]]]]
)
def test_ragged_lists_are_refused(value: Any) -> None:
    assert refused(value).startswith("Encountered list at unexpected size: ")


def test_the_first_ragged_list_is_named() -> None:
    assert refused([[1, 2], [3, 4], [5]]) == (
        "Encountered list at unexpected size: expected 2 elements at dimension 1, got a list of 1: [5]"
    )


def test_a_value_of_the_wrong_type_is_quoted() -> None:
    assert refused([1, "a"]) == 'JSON Value: "a" Type: String is not of expected type: float'
    assert refused([True], "float64") == "JSON Value: true Type: Boolean is not of expected type: double"
    assert refused([{"a": 1}], "int8") == 'JSON Value: {"a": 1} Type: Object is not of expected type: int8'


def test_more_than_32_dimensions_are_refused() -> None:
    value: Any = 1
    for _ in range(32):
        value = [value]
    assert jsontensor.build(value, FLOAT).ndim == 32
    assert "more than 32 deep" in refused([value])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b" \n", "JSON Parse error: The document is empty"),
        (b"{", "JSON Parse error: Expecting property name enclosed in double quotes at offset: 1"),
        ('["ä", x]'.encode(), "JSON Parse error: Expecting value at offset: 7"),
        (b'"\xff"', "JSON Parse error: not UTF-8 at offset: 1"),
        (b'"\\ud800"', "JSON Parse error: The surrogate pair in string is invalid."),
        (b"1e999", "JSON Parse error: Number too big to be stored in double."),
        (b"1" * 5000, "JSON Parse error: a number has too many digits"),
        (b"[" * 100_000, "JSON Parse error: nested too deeply"),
    ],
)
def test_what_is_not_json_is_named_with_its_place(text: bytes, error: str) -> None:
    assert not_parsed(text) == error


@pytest.mark.parametrize("text", [b'"\\ud83d\\ude00"', b'"\\\\ud800"', '"😀"'.encode()])
def test_whole_characters_are_no_halves(text: bytes) -> None:
    assert jsontensor.loads(text) == json.loads(text)


def test_the_first_value_counts_and_the_rest_is_ignored() -> None:
    assert jsontensor.loads(b' \t[1, NaN]{"more": 1}')[0] == 1


@pytest.mark.parametrize(
    ("shape", "given", "fits"),
    [
        ((None, 3), (1, 3), True),
        ((None, 3), (1, 4), False),
        ((None, 3), (3,), False),
        ((None, 3), (0, 3), False),
        ((2, None), (2, 0), True),
        ((), (), True),
        ((), (1,), False),
    ],
)
def test_shapes_must_fit_and_free_rows_must_be_there(
    shape: tuple[int | None, ...], given: tuple[int, ...], fits: bool
) -> None:
    array = np.zeros(given, np.float32)
    if fits:
        assert jsontensor.fit("x", array, spec("float32", *shape)) is array
    else:
        with pytest.raises(InvalidRequest, match=r"^input 'x' has "):
            jsontensor.fit("x", array, spec("float32", *shape))


def test_an_unknown_rank_takes_every_shape() -> None:
    unknown = TensorSpec(FLOAT, None)
    assert jsontensor.fit("x", np.zeros((1, 2, 3), np.float32), unknown).ndim == 3
    assert jsontensor.shape_of(unknown) == []


@pytest.mark.parametrize("name", [name for name in ELEMENTS if name != "object"])
def test_arrays_and_their_scalars_are_written_as_numbers(name: str) -> None:
    array = np.array([[1, 0]], dtype=name)
    lists = [[True, False]] if name == "bool" else [[1, 0]]
    assert json.loads(jsontensor.dump(array)) == json.loads(jsontensor.dump(list(array))) == lists
    assert json.loads(jsontensor.dump([array[0, 0]])) == [lists[0][0]]


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_numbers_that_json_has_not_are_bare_words(name: str) -> None:
    array = np.array([[np.nan, np.inf], [-np.inf, 0.5]], dtype=name)
    assert jsontensor.dump(jsontensor.written(array)) == b"[[NaN,Infinity],[-Infinity,0.5]]"
    assert jsontensor.dump(list(jsontensor.rows(array))) == b"[[NaN,Infinity],[-Infinity,0.5]]"
    assert jsontensor.dump(list(jsontensor.rows(array[0]))) == b"[NaN,Infinity]"


def test_strings_are_written_as_text_or_in_base_64() -> None:
    array = np.array([["ä".encode(), b"\xff"]], dtype=object)
    for write in (jsontensor.written, jsontensor.rows):
        assert write(array) == [["ä", "\ufffd"]]
        assert write(array, as_base64=True) == [[{"b64": "w6Q="}, {"b64": "/w=="}]]
    assert jsontensor.written(np.array(b"alone", dtype=object)) == "alone"


@pytest.mark.parametrize("shape", [(20,), (1, 20), (5, 1, 4), (2, 10, 1), (0, 9), (9, 0)])
@pytest.mark.parametrize("as_base64", [True, False])
def test_many_strings_are_written_alike_in_steps(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], as_base64: bool
) -> None:
    array = np.array([b"%d" % number for number in range(np.prod(shape))], dtype=object).reshape(shape)
    whole = jsontensor.dump(jsontensor.written(array, as_base64=as_base64))
    assert json.loads(whole) == jsontensor.written(array, as_base64=as_base64)
    monkeypatch.setattr(jsontensor, "_STRINGS", 3)
    assert jsontensor.dump(jsontensor.written(array, as_base64=as_base64)) == whole


@pytest.mark.parametrize("text", ["AA==", "AA", " A\nA = =", "AA="])
def test_base_64_may_lack_its_padding_and_hold_blanks(text: str) -> None:
    """As it may for TensorFlow Serving."""
    assert jsontensor.build([{"b64": text}], ELEMENTS["object"]).tolist() == [b"\0"]


@pytest.mark.parametrize("text", ["A", "AAAAA", "A-_A", "=AA=", "AA==AA==", "Ä"])
def test_what_is_no_base_64_is_refused(text: str) -> None:
    assert refused([{"b64": text}], "object").startswith("Unable to base64 decode: ")


def test_what_is_quoted_is_not_kept() -> None:
    """Not even until garbage is collected: a refused request may be megabytes, and there may be many."""

    class Value(list[int]):
        """A list that can be waited for."""

    values = [Value([1] * 1000), Value([])]
    gone = [weakref.ref(value) for value in values]
    gc.disable()
    try:
        for _ in range(2):
            jsontensor.quoted([values.pop(), 5] * 500)
        assert [one() for one in gone] == [None, None]
    finally:
        gc.enable()


def test_what_is_quoted_is_cut_and_no_further_looked_at() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert jsontensor.quoted(deep) == "[" * 256
    assert jsontensor.quoted({"a": [1, None, "b"]}) == '{"a": [1, null, "b"]}'
    assert len(jsontensor.quoted("x" * 1000)) == 256
    while deep:  # taken apart from outside: Python would do it by recursion
        deep = deep[0]
