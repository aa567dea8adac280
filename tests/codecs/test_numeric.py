"""service/codecs/numeric.py: whatever is read or written in the short way is what Python's own parser makes of it."""

import json
from typing import Any

import numpy as np
import pytest

from service.codecs import numeric, steps
from service.types import Array, ElementType
from tests.codecs.forms import ELEMENTS, FLOAT, random_array, same

NUMBERS = pytest.mark.parametrize("name", [name for name in ELEMENTS if name != "object"])
#: Layouts that JSON writers choose: (indent, separators).
LAYOUTS: list[tuple[int | None, tuple[str, str] | None]] = [
    (None, None),
    (None, (",", ":")),
    (1, None),
    (None, (" ,\t", ":")),
]
TYPES: dict[str, set[type]] = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}


def reference(text: bytes, element: ElementType, rank: int) -> Array | None:
    """Return what Python's parser and numpy make of the text, or None if it is no list of that rank and type."""
    try:
        value = json.loads(text, parse_constant=lambda _: None)
        array = np.array(value, dtype=object)
        leaves = {type(leaf) for leaf in array.ravel().tolist()}
        with np.errstate(over="raise"):
            found = np.array(value, dtype=element.numpy)
    except (ValueError, TypeError, OverflowError, FloatingPointError, RecursionError):
        return None
    if array.ndim != rank or not leaves <= TYPES[element.numpy.kind] or not np.isfinite(found).all():
        return None
    return found


def finite(random: np.random.Generator, element: ElementType, shape: tuple[int, ...]) -> Array:
    return np.nan_to_num(random_array(random, element, shape), posinf=0, neginf=0)


def any_shape(random: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(size) for size in random.integers(1, 5, random.integers(1, 5)))


@NUMBERS
@pytest.mark.parametrize("step", [1, 7, 64, numeric.STEP])
def test_lists_are_read_as_python_reads_them(monkeypatch: pytest.MonkeyPatch, name: str, step: int) -> None:
    monkeypatch.setattr(numeric, "STEP", step)
    random, element = np.random.default_rng(step), ELEMENTS[name]
    for _ in range(100):
        array = finite(random, element, any_shape(random))
        indent, separators = LAYOUTS[random.integers(len(LAYOUTS))]
        text = json.dumps(array.tolist(), indent=indent, separators=separators).encode()
        found = numeric.read(text, element, array.ndim)
        assert found is not None
        assert same(found, array), text
        assert numeric.read(text, element, array.ndim + 1) is None


@pytest.mark.parametrize("name", ["float32", "int16", "bool"])
@pytest.mark.parametrize("step", [1, 16])
def test_nothing_is_read_that_python_would_not_read(monkeypatch: pytest.MonkeyPatch, name: str, step: int) -> None:
    """Over random damage to good lists: the step is small, so that every text is read flat and in pieces."""
    monkeypatch.setattr(numeric, "STEP", step)
    random, element = np.random.default_rng(step), ELEMENTS[name]
    pieces = [
        b"",
        *(bytes([byte]) for byte in b'[],0-+.eE_ x"{}:\x00\x0b\xff'),
        b"],[",
        b"[]",
        b"],",
        b",[",
        b"true",
        b"NaN",
    ]
    taken = {True: 0, False: 0}
    for _ in range(4000):
        array = (
            random.integers(0, 2, any_shape(random)).astype(bool)
            if name == "bool"
            else random.integers(-99, 99, any_shape(random))
        )
        text = bytearray(json.dumps(array.tolist()).encode())
        for _ in range(random.integers(1, 3)):
            start = random.integers(len(text))
            text[start : start + random.integers(0, 2)] = pieces[random.integers(len(pieces))]
        found, expected = (read(bytes(text), element, array.ndim) for read in (numeric.read, reference))
        assert (found is None) == (expected is None or not expected.size), text
        assert found is None or expected is None or same(found, expected), text
        taken[found is not None] += 1
    assert min(taken.values()) > 50


@pytest.mark.parametrize(
    "text",
    [
        b"[1[, 2], [3, 4]]",
        b"[[1, 2], ]3[, 4]",
        b"[[1, 2]3, [4, 5]]",
        b"[1, [2], [3, 4]]",
        b"[[1, 2], [3, 4]",
        b"[[1, 2], [3, 4]]]",
        b"[[1, 2], [3, 4]], [5, 6]",
        b"[[1, 2], [3], [4]]",
        b"[[1, 2], [3, 4, 5]]",
        b"[[1, 2], [3, 4],]",
        b"[[1, 2], [3, ]]",
        b"[[1, 2], []]",
        b"[[1 2], [3, 4]]",
        b"[[1, 0x2], [3, 4]]",
        b"[[1, 1_0], [3, 4]]",
        b"[[1, 02], [3, 4]]",
        b"[[1, +2], [3, 4]]",
        b"[[1, 1e39], [3, 4]]",
        b"[[1, 1e400], [3, 4]]",
        b"[[1, true], [3, 4]]",
        b'[[1, "2"], [3, 4]]',
        b"[[1, 2], [3, 4\x00]]",
        b"[[[1, 2], [3, 4]]]",
        b"[1, 2, 3, 4]",
        b"",
    ],
)
@pytest.mark.parametrize("step", [1, 5, numeric.STEP])
def test_what_is_no_matrix_of_numbers_is_not_read(monkeypatch: pytest.MonkeyPatch, text: bytes, step: int) -> None:
    monkeypatch.setattr(numeric, "STEP", step)
    assert numeric.read(text, FLOAT, 2) is None


@pytest.mark.parametrize("rank", [-1, 0, 17, 10**9])
def test_unusual_ranks_are_not_read(rank: int) -> None:
    assert numeric.read(b"[1.0]", FLOAT, rank) is None


@pytest.mark.parametrize(("text", "shape"), [(b"1", ()), (b"[1]", (1,)), (b" [ [1],[2]]", (2, 1))])
def test_an_unknown_rank_is_that_of_the_text(text: bytes, shape: tuple[int, ...]) -> None:
    found = numeric.read(text, FLOAT, None)
    assert found is not None
    assert found.shape == shape


@pytest.mark.parametrize("step", [1, 16, numeric.STEP])
@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_numbers_that_json_has_not_can_be_marked(monkeypatch: pytest.MonkeyPatch, name: str, step: int) -> None:
    monkeypatch.setattr(numeric, "STEP", step)
    array = np.array([[np.nan, 1.5, np.inf], [-np.inf, 2, -0.0]], dtype=name)
    text = json.dumps(array.tolist()).encode()
    assert numeric.read(text, ELEMENTS[name], 2) is None
    for rest in (b"", b"\n", b" and more", b"]"):
        found = numeric.read_marked(numeric.marked(text + rest), ELEMENTS[name], 2)
        assert found is not None
        assert same(found, array)


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"[%s, 1]" % word
            for word in (b"NaN0", b"1NaN", b"-NaN", b"NaNNaN", b"Infinity1", b"--Infinity", b"Inf", b"nan")
        ),
        b"[NaN, 1e400]",
        b"[NaN, 1e39]",
        b"[NaN, true]",
        b'[NaN, "1"]',
        b"[NaN, null]",
        b"[NaN, [1]]",
        b"[NaN, 7e7777]",
        b"[NaN, -1e7777]",
    ],
)
def test_nothing_else_can_be_marked(text: bytes) -> None:
    assert numeric.read_marked(numeric.marked(text), FLOAT, 1) is None


def test_only_floats_can_be_marked() -> None:
    for name in ("int32", "bool"):
        assert numeric.read_marked(numeric.marked(b"[NaN]"), ELEMENTS[name], 1) is None


@pytest.mark.parametrize("step", [12, steps.STEP])
def test_strings_keep_what_would_be_marked(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(steps, "STEP", step)
    document = b'{"NaN": "-Infinity, \\"NaN", "x": [NaN, "Infinity"], "NaN": "'
    for rest in (b'NaN"}', b'a"} "NaN'):
        text = numeric.marked(document + rest)
        assert text.count(b"7e7777") == 1
        assert text.replace(b"7e7777", b"NaN") == (document + rest).removesuffix(b'"NaN')


def test_what_needs_no_mark_is_left_as_it_is() -> None:
    for document in (b'{"a": [1, 2]}', b'{"a": [1, ', b"[" * 100_000, b"7e7777 NaN"):
        assert numeric.marked(document) is document


@pytest.mark.parametrize("shape", [(100_000,), (2000, 50), (1, 200, 200, 3), (50_000, 1, 1)])
def test_no_step_is_long(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    """Neither the parser nor the writer is ever handed more than a step and the item that ends it."""
    sizes = []
    parser, writer = numeric._decoder, numeric._write

    class Parser:
        def __init__(self, kind: str, rank: int) -> None:
            self.decoder = parser(kind, rank)

        def decode(self, text: bytes) -> Any:
            sizes.append(len(text))
            return self.decoder.decode(text)

    def write(array: Array) -> bytes:
        sizes.append(array.nbytes)
        return writer(array)

    monkeypatch.setattr(numeric, "_decoder", Parser)
    monkeypatch.setattr(numeric, "_write", write)
    array = finite(np.random.default_rng(1), FLOAT, shape)
    found = numeric.read(numeric.write(array), FLOAT, len(shape))
    assert found is not None
    assert same(found, array)
    assert max(sizes) < numeric.STEP + 64
    assert len(sizes) > 8


@pytest.mark.parametrize("shape", [(1 << 15, *[1] * 14), (1, 1 << 15, 1)])
def test_lists_count_in_a_step_as_numbers_do(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    """So many bytes of numbers are one step, but not with so many brackets around each of them."""
    lists: list[int] = []
    writer = numeric._write

    def write(array: Array) -> bytes:
        text = writer(array)
        lists.append(text.count(b"["))
        return text

    monkeypatch.setattr(numeric, "_write", write)
    array = np.arange(1 << 15, dtype=np.float32).reshape(shape)
    assert array.nbytes == numeric.STEP
    assert json.loads(numeric.write(array)) == array.tolist()
    assert max(lists) < 6000


@NUMBERS
@pytest.mark.parametrize("step", [8, 64, numeric.STEP])
def test_arrays_are_written_alike_in_steps_of_any_size(monkeypatch: pytest.MonkeyPatch, name: str, step: int) -> None:
    monkeypatch.setattr(numeric, "STEP", step)
    random, element = np.random.default_rng(2), ELEMENTS[name]
    for _ in range(50):
        array = random_array(random, element, any_shape(random))
        for laid in (array, array.T, array[::2]):
            text = numeric.write(laid)
            found = np.array(json.loads(text), dtype=element.numpy)
            assert same(found, laid), text
            assert b" " not in text


@NUMBERS
@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3), (3, 0, 2)])
def test_arrays_without_elements_keep_their_brackets(name: str, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, dtype=name)
    assert json.loads(numeric.write(array)) == array.tolist()


@NUMBERS
def test_scalars_are_written_bare(name: str) -> None:
    scalars: list[Any] = [np.ones((), dtype=name), np.ones(1, dtype=name)[0]]
    assert [json.loads(numeric.write(scalar)) for scalar in scalars] == [1, 1]
    unusual: list[Any] = [np.array(-np.inf), np.float32(-np.inf)]
    assert [numeric.write(scalar) for scalar in unusual] == [b"-Infinity"] * 2
