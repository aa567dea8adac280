"""What holds for every wire format, in every form that it has."""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.codecs import http
from service.errors import InvalidRequest
from service.types import ELEMENT_TYPES, Array, Call, ElementType, Reply, Signatures
from tests.codecs.forms import ELEMENTS, FORMS, Form, random_array, same, signatures, spec


def forms(suited: Callable[[Form], bool]) -> pytest.MarkDecorator:
    """Return the mark of a test that is done with each form that suits it."""
    return pytest.mark.parametrize("form", [form for form in FORMS if suited(form)], ids=lambda form: form.name)


FORM = forms(lambda _: True)
ELEMENT = pytest.mark.parametrize("element", ELEMENT_TYPES, ids=lambda element: element.numpy.name)
FORM_AND_ELEMENT = pytest.mark.parametrize(
    ("form", "element"),
    [
        pytest.param(form, element, id=f"{form.name}-{element.numpy.name}")
        for form in FORMS
        for element in ELEMENT_TYPES
    ],
)

X = signatures({"x": spec("float32", None, 3)})


def refusal(form: Form, body: bytes, of: Signatures = X) -> str:
    """Return the text with which the body is refused, which can be sent."""
    with pytest.raises(InvalidRequest) as caught:
        form.codec.decode(body, {}, of)
    assert json.loads(http.encode_error(str(caught.value)))["error"]
    return str(caught.value)


@FORM_AND_ELEMENT
def test_whatever_a_client_sends_arrives(form: Form, element: ElementType) -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        shape = tuple(int(size) for size in random.integers(1, 4, random.integers(1, 4)))
        array = random_array(random, element, shape)
        call = form.codec.decode(form.body({"x": array}), {}, signatures({"x": spec(element, None, *shape[1:])}))
        assert same(call.inputs["x"], array)
        assert (call.signature, call.by_row) == ("serving_default", form.by_row)


@forms(lambda form: not form.bare)
def test_several_inputs_arrive_together(form: Form) -> None:
    random = np.random.default_rng(2)
    inputs = {element.oip: random_array(random, element, (3, 2)) for element in ELEMENT_TYPES}
    call = form.codec.decode(form.body(inputs), {}, signatures({e.oip: spec(e, None, None) for e in ELEMENT_TYPES}))
    assert all(same(call.inputs[name], array) for name, array in inputs.items())


@FORM
@ELEMENT
def test_an_answer_reads_as_the_outputs(form: Form, element: ElementType) -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        shape = tuple(int(size) for size in random.integers(1, 4, random.integers(1, 4)))
        array = _text(random_array(random, element, shape))
        body, _ = form.codec.encode(Call("", {}, by_row=form.by_row), Reply({"y": array}, "m", "1"))
        assert same(form.outputs(body, {"y": spec(element)})["y"], array)


@FORM
@pytest.mark.parametrize("finite", [True, False], ids=["finite", "with a NaN"])
def test_several_outputs_are_told_apart(form: Form, finite: bool) -> None:
    outputs: dict[str, Array] = {
        "a": np.array([[0.1, -2.0], [3.5, 1e20]], np.float32),
        "b": np.array([True, False]),
        "c": np.array([2**64 - 1, 0], np.uint64),
        "d": np.array([0.1, 0.5 if finite else np.nan], np.float16),
    }
    body, _ = form.codec.encode(Call("", {}, by_row=form.by_row), Reply(outputs))
    found = form.outputs(body, {name: spec(array.dtype.name) for name, array in outputs.items()})
    assert all(same(found[name], array) for name, array in outputs.items())


@FORM
@pytest.mark.parametrize("last", [1.0, np.nan, np.inf])
def test_float32_is_written_by_its_shortest_text(form: Form, last: float) -> None:
    array = np.array([0.1, 16777216.0, 3.4028235e38, 1e-45, last], np.float32)
    body, _ = form.codec.encode(Call("", {}, by_row=form.by_row), Reply({"y": array}, "m", "9"))
    texts = re.findall(r"(?<=[\[, ])[0-9.]+(?:e[-+]?[0-9]+)?(?=,)", body.decode().replace("e+", "e"))
    assert texts[:4] == ["0.1", "16777216.0", "3.4028235e38", "1e-45"]


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        pytest.param(form, shape, id=f"{form.name}-{shape}")
        for form in FORMS
        for shape in ((), (0,), (2, 0), (0, 3), (1, 1, 1, 1, 1))
        if shape or not form.by_row
    ],
)
def test_scalars_and_empty_tensors_are_answered(form: Form, shape: tuple[int, ...]) -> None:
    for value in (1.5, np.nan):
        array = np.full(shape, value, np.float32)
        body, _ = form.codec.encode(Call("", {}, by_row=form.by_row), Reply({"y": array}))
        found = form.outputs(body, {"y": spec("float32")})["y"]
        assert same(found.reshape(shape), array)


@FORM
def test_memory_may_lie_in_any_order(form: Form) -> None:
    outputs: dict[str, Array] = {
        "a": np.arange(12, dtype=np.float32).reshape(3, 4).T,
        "b": np.arange(24, dtype=np.int32).reshape(4, 6)[:, ::2],
    }
    body, _ = form.codec.encode(Call("", {}, by_row=form.by_row), Reply(outputs))
    found = form.outputs(body, {name: spec(array.dtype.name) for name, array in outputs.items()})
    assert all(same(found[name], array) for name, array in outputs.items())


@FORM
@pytest.mark.parametrize(
    ("element", "value"),
    [
        ("float32", "true"),
        ("float32", '"1"'),
        ("float32", "null"),
        ("float32", "{}"),
        ("float32", '{"b64": "AA=="}'),
        ("float32", "1e39"),
        ("float32", "-1e300"),
        ("float32", "1e400"),
        ("float32", f"1{'0' * 400}"),
        ("float32", "9" * 5000),
        ("float64", "1e309"),
        ("int32", "1.5"),
        ("int32", "1.0"),
        ("int32", "1e2"),
        ("int32", "NaN"),
        ("int32", "true"),
        ("int32", '"1"'),
        ("int32", "2147483648"),
        ("int8", "-129"),
        ("uint8", "-1"),
        ("uint8", "256"),
        ("int64", "9223372036854775808"),
        ("uint64", "18446744073709551616"),
        ("bool", "1"),
        ("bool", "0.0"),
        ("bool", '"true"'),
        ("object", "1"),
        ("object", "true"),
        ("object", "null"),
        ("object", "{}"),
        ("object", '{"b64": "AA==", "more": 1}'),
        ("object", '{"b64": 1}'),
        ("object", '{"b64": "A"}'),
        ("object", '{"b64": "\\u00e4"}'),
        ("object", '"\\ud800"'),
    ],
)
def test_a_value_of_the_wrong_type_or_size_is_refused(form: Form, element: str, value: str) -> None:
    refusal(form, form.request(ELEMENTS[element], [[value]]), signatures({"x": spec(element, None, 1)}))


@FORM
@pytest.mark.parametrize(
    ("element", "value", "expected"),
    [
        ("float32", "1", 1.0),
        ("float32", "-0.0", -0.0),
        ("float32", "16777217", 16777216.0),
        ("float32", f"{10**38}", 1e38),
        ("float32", "NaN", np.nan),
        ("float32", "-Infinity", -np.inf),
        ("float64", "5e-324", 5e-324),
        ("float64", f"{10**300}", 1e300),
        ("int64", "-9223372036854775808", -(2**63)),
        ("uint64", "18446744073709551615", 2**64 - 1),
        ("int8", "-0", 0),
        ("bool", "false", False),
        ("object", '""', b""),
        ("object", '"\\u00e4\\ud83d\\ude00"', "ä😀".encode()),
        ("object", '{"b64": "/+A="}', b"\xff\xe0"),
    ],
)
def test_a_value_at_the_edge_is_taken(form: Form, element: str, value: str, expected: Any) -> None:
    call = form.codec.decode(form.request(ELEMENTS[element], [[value]]), {}, signatures({"x": spec(element, None, 1)}))
    assert same(call.inputs["x"], np.array([[expected]], dtype=ELEMENTS[element].numpy))


@FORM
@pytest.mark.parametrize("shape", [(1, 4), (3,), (1, 3, 1), (0, 3)])
def test_a_tensor_that_does_not_fit_the_signature_is_refused(form: Form, shape: tuple[int, ...]) -> None:
    refusal(form, form.body({"x": np.zeros(shape, np.float32)}))


@forms(lambda form: not (form.bare or form.by_row))
def test_inputs_of_unequal_rows_are_refused(form: Form) -> None:
    inputs: dict[str, Array] = {"a": np.zeros((2, 1), np.float32), "b": np.zeros((3, 1), np.float32)}
    of = signatures({"a": spec("float32", None, 1), "b": spec("float32", None, 1)})
    assert "same" in refusal(form, form.body(inputs), of)


HOSTILE = {
    "nothing": b"",
    "blanks": b" \r\n\t ",
    "no object": b"[1, 2]",
    "a number": b"1",
    "null": b"null",
    "not JSON": b"<html>",
    "cut short": b'{"instances": [[1, 2',
    "not UTF-8": b'{"signature_name": "\xff", "inputs": [{"name": "\xff"}]}',
    "UTF-16": '{"inputs": []}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"inputs": []}',
    "deep": b"[" * 100_000,
    "deep in a key that nobody asks for": b'{"x": ' + b"[" * 100_000,
    "deep where tensors are": b'{"instances": ' + b"[" * 100_000,
    "deep, and closed": b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"inputs": ' + b'{"a": ' * 100_000,
    "as deep as Python goes": b'{"instances": ' + b"[" * 900 + b"]" * 900 + b"}",
    "a number without end": b'{"inputs": [' + b"9" * 1_000_000 + b"]}",
    "half a character": b'{"signature_name": "\\ud800", "id": "\\udfff", "inputs": []}',
    "a name without end": b'{"inputs": {"'
    + b"x" * 1_000_000
    + b'": 1}, "signature_name": "'
    + b"y" * 1_000_000
    + b'"}',
}


@FORM
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bodies_are_refused_in_few_words(form: Form, body: bytes) -> None:
    assert len(refusal(form, body)) < 1000


@FORM
def test_no_change_to_a_body_breaks_anything(form: Form) -> None:
    """Whatever bytes arrive, there is a call that fits the signature or a refusal that can be sent."""
    random = np.random.default_rng(4)
    element = ELEMENTS["float32"]
    bodies = [form.body({"x": random_array(random, element, (2, 3))}) for _ in range(5)]
    pieces = [
        b"",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b'"',
        b"\\",
        b"-",
        b"e9",
        b"\xff",
        b"NaN",
        b"null",
        b"[]",
        b"1.5",
    ]
    refused = 0
    for _ in range(3000):
        body = bytearray(bodies[random.integers(len(bodies))])
        for _ in range(random.integers(1, 3)):
            start = random.integers(len(body))
            body[start : start + random.integers(0, 4)] = pieces[random.integers(len(pieces))]
        array = _outcome(form, bytes(body), X)
        refused += array is None
        assert array is None or (array.dtype == np.float32 and X["serving_default"].inputs["x"].accepts(array.shape))
    assert 1000 < refused < 3000


@FORM_AND_ELEMENT
def test_both_ways_through_the_decoder_agree(form: Form, element: ElementType) -> None:
    """Bytes after the document send a request the long way: what it finds is what the short way finds."""
    random = np.random.default_rng(5)
    of = signatures({"x": spec(element, None, None)})
    taken = 0
    for _ in range(300):
        body = form.request(element, [[_value(random, element) for _ in range(2)] for _ in range(2)])
        short, long = (_outcome(form, body + rest, of) for rest in (b"", b" !"))
        assert (short is None) == (long is None), body
        if short is not None and long is not None:
            assert same(short, long), body
            taken += 1
    assert 30 < taken < 300


def _outcome(form: Form, body: bytes, of: Signatures) -> Array | None:
    try:
        array: Array = form.codec.decode(body, {}, of).inputs["x"]
    except InvalidRequest as error:
        http.encode_error(str(error))
        return None
    return array


def _value(random: np.random.Generator, element: ElementType) -> str:
    """Return any scalar as JSON, mostly one that the element type can hold."""
    if random.integers(30) == 0:
        odd = (
            "true",
            "null",
            '"1"',
            "1.0",
            "-0",
            "-0.0",
            "1e5",
            "1E-5",
            "1e400",
            str(2**63),
            str(-(2**64)),
            "NaN",
            "[1]",
        )
        return odd[random.integers(len(odd))]
    if element.numpy.kind in "iu":
        return str(random.integers(-100 if element.numpy.kind == "i" else -2, 132))
    if element.numpy.kind == "f":
        most = {2: 3, 4: 9, 8: 18}[element.numpy.itemsize]
        digits = str(random.integers(1, 10 ** int(random.integers(1, most))))
        exponent = random.integers(-most, most) if element.numpy.itemsize < 8 else random.integers(-330, 300)
        texts = (
            digits,
            f"-{digits}.5",
            f"0.{digits}",
            f"{digits[0]}.{digits}e{exponent}",
            f"-{digits[0]}E+{abs(exponent)}",
        )
        return texts[random.integers(len(texts))]
    return ("true", "false")[random.integers(2)] if element.numpy.kind == "b" else '"text"'


def _text(array: Array) -> Array:
    """Return the array with strings that are text: others cannot be answered as such."""
    if array.dtype.kind != "O":
        return array
    flat = np.empty(array.size, dtype=object)
    flat[:] = [value.hex().encode() for value in array.ravel().tolist()]
    return flat.reshape(array.shape)
