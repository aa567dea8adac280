"""service/codecs/tfserving.py: what TensorFlow Serving's clients send, read and match on."""

import json
from typing import Any

import numpy as np
import pytest

from service.codecs import jsontensor, numeric, tfdocument, tfserving
from service.errors import InvalidRequest
from service.types import Array, Call, Reply, Signature, TensorSpec
from tests.codecs.forms import FLOAT, same, signatures, spec

ONE = signatures({"x": spec("float32", None, 2)})
TWO = signatures({"a": spec("float32", None, 2), "b": spec("object", None)})
FLAT = spec("float32", None)
BY_ROW, BY_COLUMN = Call("", {}, by_row=True), Call("", {})


def decode(document: Any, of: Any = None) -> Call:
    return tfserving.decode(json.dumps(document).encode(), {}, of or ONE)


def refused(document: Any, of: Any = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decode(document, of)
    return str(caught.value)


def encode(call: Call, **outputs: Array) -> Any:
    return json.loads(tfserving.encode(call, Reply(outputs))[0])


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [[1, 2], [3, 4]]},
        {"instances": [{"x": [1, 2]}, {"x": [3, 4]}]},
        {"inputs": [[1, 2], [3, 4]]},
        {"inputs": {"x": [[1, 2], [3, 4]]}},
        {"signature_name": "serving_default", "instances": [[1, 2], [3, 4]], "unknown": {"a": [None]}},
        {"signature_name": "", "instances": [[1, 2], [3, 4]]},
        {"inputs": {"x": [[1, 2], [3, 4]], "unknown": 1}},
    ],
)
def test_one_input_may_be_bare_or_named_by_row_or_by_column(document: Any) -> None:
    call = decode(document)
    assert call.inputs["x"].tolist() == [[1, 2], [3, 4]]
    assert call.by_row is ("instances" in document)


@pytest.mark.parametrize("rest", [b"\n", b" garbage", b"{}", b"\xc3\xa4"])
def test_bytes_after_the_document_are_ignored(rest: bytes) -> None:
    assert tfserving.decode(b'{"instances": [[1, 2]]}' + rest, {}, ONE).inputs["x"].tolist() == [[1, 2]]


def test_a_signature_may_be_named() -> None:
    of = {"other": Signature({"x": spec("int32", None)}, {"y": spec("int32", None)})}
    assert decode({"signature_name": "other", "instances": [1, 2]}, of).signature == "other"


@pytest.mark.parametrize("rest", [b"", b" !"], ids=["the short way", "the long way"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": 7, "instances": [[9, 9]], "instances": [[1, 2]], "inputs": 8, "inputs": null}',
        b'{"instances": [[9, 9]], "signature_name": "no", "instances": [[1, 2]], "signature_name": "serving_default"}',
        b'{"instances": [{"x": [9, 9], "x": [1, 2]}]}',
        b'{"inputs": {"x": 9, "y": 9, "x": [[1, 2]]}}',
    ],
)
def test_of_keys_that_are_given_twice_the_last_counts(body: bytes, rest: bytes) -> None:
    """As in most parsers of JSON. TensorFlow Serving's takes the first, and nobody can rely on either."""
    if b"null" in body:
        with pytest.raises(InvalidRequest, match="only one of"):
            tfserving.decode(body + rest, {}, ONE)
    else:
        assert tfserving.decode(body + rest, {}, ONE).inputs["x"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("document", "shape"), [({"instances": [1, 2, 3]}, (3,)), ({"inputs": 5}, ()), ({"inputs": [[1]]}, (1, 1))]
)
def test_an_input_of_unknown_rank_takes_any(document: Any, shape: tuple[int, ...]) -> None:
    of = signatures({"x": TensorSpec(FLOAT, None)})
    assert decode(document, of).inputs["x"].shape == shape


def test_strings_are_text_or_base_64() -> None:
    of = signatures({"x": spec("object", None)})
    for document in ({"instances": ["ä", {"b64": "/w=="}]}, {"inputs": {"x": ["ä", {"b64": "/w=="}]}}):
        assert decode(document, of).inputs["x"].tolist() == ["ä".encode(), b"\xff"]
    scalar = signatures({"x": spec("object")})
    assert decode({"inputs": {"b64": "/w=="}}, scalar).inputs["x"].item() == b"\xff"


def test_an_input_may_be_named_b64() -> None:
    assert decode({"instances": [{"b64": 1}]}, signatures({"b64": spec("float32", None)})).inputs["b64"].tolist() == [1]


def test_several_inputs_are_objects() -> None:
    rows = {"instances": [{"a": [1, 2], "b": "p"}, {"b": {"b64": "cQ=="}, "a": [3, 4]}]}
    columns = {"inputs": {"b": ["p", "q"], "a": [[1, 2], [3, 4]]}}
    for document in (rows, columns):
        call = decode(document, TWO)
        assert call.inputs["a"].tolist() == [[1, 2], [3, 4]]
        assert call.inputs["b"].tolist() == [b"p", b"q"]


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ([], "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        (
            {"inputs": [], "instances": []},
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist",
        ),
        ({"signature_name": 1, "instances": [[1, 2]]}, "'signature_name' key must be a string value."),
        ({"signature_name": None, "instances": [[1, 2]]}, "'signature_name' key must be a string value."),
        ({"signature_name": "no", "instances": [1]}, 'Serving signature name: "no" not found in signature def'),
        ({"instances": {"x": 1}}, "Expecting 'instances' to be an list/array"),
        ({"instances": None}, "Expecting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        (
            {"instances": [[1, 2], ["a", 2]]},
            (
                "Failed to process element: 1 of 'instances' list. "
                'Error: JSON Value: "a" Type: String is not of expected type: float'
            ),
        ),
        (
            {"instances": [{"x": [1, 2]}, {"x": [1, None]}]},
            (
                "Failed to process element: 1 key: x of 'instances' list. "
                "Error: JSON Value: null Type: Null is not of expected type: float"
            ),
        ),
        (
            {"instances": [{"x": [1, 2]}, {"y": [1, 2]}]},
            (
                "Failed to process element: 1 of 'instances' list. "
                'Error: JSON object: {"y": [1, 2]} keys must be equal to: x'
            ),
        ),
        (
            {"instances": [[1, 2], [1, 2], [1]]},
            "Failed to process element: 2 of 'instances' list. Error: Expecting tensor size: 2 but got: 1",
        ),
        (
            {"instances": [[1, 2], [[1], [2]]]},
            "Failed to process element: 1 of 'instances' list. Error: Expecting tensor shape: [2] but got: [2, 1]",
        ),
        (
            {"instances": [[[1], [1, 2]]]},
            (
                "Failed to process element: 0 of 'instances' list. Error: Encountered list at unexpected size: "
                "expected 1 elements at dimension 1, got a list of 2: [1, 2]"
            ),
        ),
        ({"inputs": {"y": [[1, 2]]}}, "Missing named input: x in 'inputs' object."),
        (
            {"instances": [{"x": [1, 2]}, [1, 2]]},
            (
                "Failed to process element: 1 of 'instances' list. "
                "Error: JSON Value: [1, 2] Type: Array is not of expected type: object"
            ),
        ),
        (
            {"inputs": [[1, 2], [3]]},
            (
                "input 'x': Encountered list at unexpected size: "
                "expected 2 elements at dimension 1, got a list of 1: [3]"
            ),
        ),
        ({"instances": [1, 2]}, "input 'x' has shape [2], expected [-1, 2]"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_that_clients_match_on(document: Any, error: str) -> None:
    assert refused(document) == error


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (
            {"instances": [[1, 2]]},
            (
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            ),
        ),
        ({"instances": [{"a": [1, 2]}]}, "keys must be equal to: a,b"),
        ({"instances": [{"a": [1, 2], "b": "p", "c": 1}]}, "keys must be equal to: a,b"),
        ({"instances": [{"a": [1, 2], "b": 1}]}, "Failed to process element: 0 key: b of 'instances' list."),
        ({"inputs": [[1, 2]]}, "inputs is a plain value/list"),
        ({"inputs": {"a": [[1, 2]]}}, "Missing named input: b in 'inputs' object."),
        ({"inputs": {"a": [[1, 2]], "b": ["p", "q"]}}, "all inputs must have the same number of rows: a 1, b 2"),
    ],
)
def test_several_inputs_must_all_be_there_and_fit(document: Any, error: str) -> None:
    assert error in refused(document, TWO)


LARGE: list[tuple[bytes, Any]] = [
    (b'{"instances": [[1, 2], [3, 4]]}', ONE),
    (b'{"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}', ONE),
    (b'{"inputs": {"x": [[1, 2], [3, 4]]}, "signature_name": "NaN"}', {"NaN": ONE["serving_default"]}),
    (b'{"instances": [[1, 2], [NaN, -Infinity]]} and more', ONE),
    (b'{"instances": [{"x": [1, Infinity]}, {"x": [3, 4]}]}', ONE),
    (b'{"inputs": [[1, 2], [3, 4]]}{', ONE),
    (b'{"inputs": [[[1, 2], [3, NaN]]]}', signatures({"x": TensorSpec(FLOAT, None)})),
    (b'{"inputs": {"x": [NaN], "k": 5}}', signatures({"x": spec("float64", None), "k": spec("int8")})),
    (b'{"instances": [{"a": [1, 2], "b": "NaN"}, {"a": [3, 4], "b": {"b64": "AA=="}}]}', TWO),
    (b'{"instances": ["NaN", {"b64": "AA=="}]}', signatures({"x": spec("object", None)})),
    (b'{"instances": [{"b64": 1}]}', signatures({"b64": spec("float32", None)})),
    (b'{"instances": [true, false]}', signatures({"x": spec("bool", None)})),
]


@pytest.mark.parametrize(("body", "of"), LARGE)
def test_large_requests_are_understood_without_the_slow_parser(
    monkeypatch: pytest.MonkeyPatch, body: bytes, of: Any
) -> None:
    expected = tfdocument.understand(jsontensor.loads(body), of)
    monkeypatch.setattr(jsontensor, "DETAILED", 0)
    found = tfserving.decode(body, {}, of)
    assert (found.signature, found.by_row) == (expected.signature, expected.by_row)
    assert all(same(found.inputs[name], array) for name, array in expected.inputs.items())


@pytest.mark.parametrize(
    ("body", "of", "error"),
    [
        (b'{"instances": [[1, 2], [3]]}', ONE, "no tensors in plain lists"),
        (b'{"instances": [[1, 7e7777], [NaN, 4]]}', ONE, "JSON Parse error: invalid character at offset: 29"),
        (b'{"instances": [[1, 1e400], [NaN, 4]]}', ONE, "JSON Parse error: invalid character at offset: 28"),
        (b'{"instances": ["a", NaN]}', signatures({"x": spec("object", None)}), "JSON Parse error: invalid character"),
        (b'{"instances": [NaN]}', signatures({"x": spec("int32", None)}), "JSON Parse error: invalid character"),
        (b'{"instances": [[1, 2]', ONE, "JSON Parse error: Input data was truncated at offset: 21"),
        (b"[" * 100_000, ONE, "JSON Parse error: nested too deeply"),
        (b'{"instances": 1, "inputs": 1}', ONE, "Not formatted correctly"),
        (b'{"signature_name": "no", "inputs": 1}', ONE, 'Serving signature name: "no" not found'),
        (b"{}", ONE, "Missing 'inputs' or 'instances' key"),
        (b'{"instances": [[1, 2, 3]]}', ONE, "input 'x' has shape [1, 3], expected [-1, 2]"),
        (b'{"inputs": {"a": [[1, 2]], "b": ["p", "q"]}}', TWO, "all inputs must have the same number of rows"),
    ],
)
def test_large_requests_are_refused_without_the_slow_parser(
    monkeypatch: pytest.MonkeyPatch, body: bytes, of: Any, error: str
) -> None:
    monkeypatch.setattr(jsontensor, "DETAILED", 0)
    with pytest.raises(InvalidRequest) as caught:
        tfserving.decode(body, {}, of)
    assert str(caught.value).startswith(error)


def test_nothing_is_read_plainly_that_would_be_understood_otherwise() -> None:
    """Over random requests for two inputs, by row and by column, many of them amiss."""
    random = np.random.default_rng(1)
    of = {**TWO, "one": Signature({"x": FLAT}, {"y": FLAT}), "b64": Signature({"b64": FLAT}, {"y": FLAT})}
    values = [
        "[1, 2]",
        "[3.5]",
        "5",
        '"p"',
        '{"b64": "AA=="}',
        "[[1, 2]]",
        "7",
        "-4e0",
        "null",
        '["p"]',
        "[[1, 2], [3, 4]]",
    ]
    keys = ["a", "b", "b", "a", "x", "b64"]

    def value(depth: int) -> str:
        kind = random.integers(3) if depth else 2
        if kind == 0:
            members = [f'"{random.choice(keys)}": {value(0)}' for _ in range(random.integers(1, 4))]
            return f"{{{', '.join(members)}}}"
        if kind == 1:
            return f"[{', '.join(value(depth - 1) for _ in range(random.integers(1, 3)))}]"
        return str(random.choice(values))

    plainly = 0
    for _ in range(20_000):
        name = random.choice(["serving_default", "one", "b64"])
        body = f'{{"{random.choice(["instances", "inputs"])}": {value(2)}, "signature_name": "{name}"}}'.encode()
        try:
            found = tfserving._decode_plain(body, of)
        except InvalidRequest:
            continue
        if found is not None:
            plainly += 1
            expected = tfdocument.understand(jsontensor.loads(body), of)
            assert (found.signature, found.by_row) == (expected.signature, expected.by_row), body
            assert found.inputs.keys() == expected.inputs.keys(), body
            assert all(same(found.inputs[key], array) for key, array in expected.inputs.items()), body
    assert plainly > 200


def test_a_large_request_of_more_objects_than_can_be_batched_is_refused() -> None:
    body = b'{"instances": [%s{"x": [1, 2]}]}' % (b'{"x": [1, 2]}, ' * 70_000)
    with pytest.raises(InvalidRequest, match="no tensors in plain lists"):
        tfserving.decode(body, {}, ONE)


@pytest.mark.parametrize("rows", [b'{"x": [1, 2]}, {}', b'{"x": [1, 2]}, 5', b'{"x": [1, 2], "y": 1}', b'{"y": 1}'])
def test_large_rows_of_other_objects_are_refused(monkeypatch: pytest.MonkeyPatch, rows: bytes) -> None:
    monkeypatch.setattr(jsontensor, "DETAILED", 0)
    with pytest.raises(InvalidRequest, match="no tensors in plain lists"):
        tfserving.decode(b'{"instances": [%s]}' % rows, {}, ONE)


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "ä", ""])
def test_an_input_may_have_any_name(name: str) -> None:
    of = signatures({name: spec("float32", None, 2), "other": spec("float32", None, 2)})
    for document in ({"instances": [{name: [1, 2], "other": [3, 4]}]}, {"inputs": {name: [[1, 2]], "other": [[3, 4]]}}):
        assert tfserving.decode(json.dumps(document).encode(), {}, of).inputs[name].tolist() == [[1, 2]]


def test_the_row_at_fault_is_found_among_many() -> None:
    for number in (0, 1, 499, 500, 998, 999):
        rows: list[Any] = [[1, 2]] * 1000
        rows[number] = [1, "x"]
        assert f"process element: {number} of" in refused({"instances": rows})


def test_one_output_is_bare_and_several_are_objects() -> None:
    y, z = np.array([[1.5], [2.0]], np.float32), np.array([7, 8], np.int64)
    assert encode(BY_ROW, y=y) == {"predictions": [[1.5], [2.0]]}
    assert encode(BY_COLUMN, y=y) == {"outputs": [[1.5], [2.0]]}
    assert encode(BY_ROW, y=y, z=z) == {"predictions": [{"y": [1.5], "z": 7}, {"y": [2.0], "z": 8}]}
    assert encode(BY_COLUMN, y=y, z=z) == {"outputs": {"y": [[1.5], [2.0]], "z": [7, 8]}}


def test_floats_keep_their_point() -> None:
    assert tfserving.encode(BY_ROW, Reply({"y": np.array([2.0, 3.5], np.float32)}))[0] == b'{"predictions":[2.0,3.5]}'


def test_nan_and_infinity_are_bare_words() -> None:
    y = np.array([np.nan, np.inf, -np.inf, 0.1], np.float32)
    assert tfserving.encode(BY_COLUMN, Reply({"y": y}))[0] == b'{"outputs":[NaN,Infinity,-Infinity,0.1]}'


def test_an_answer_by_row_is_the_same_in_one_piece_and_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    outputs: dict[str, Array] = {
        "y": random.random((7, 3, 2), np.float32),
        "nan": np.array([0.5, np.nan, 1, 2, -np.inf, 3, 4]),
        "text": np.array([b"a"] * 7, object),
        "some_bytes": np.array([[b"\xff"]] * 7, object),
    }
    whole = tfserving.encode(BY_ROW, Reply(outputs))[0]
    row = json.loads(whole)["predictions"][4]
    assert np.array_equal(np.array(row.pop("y"), np.float32), outputs["y"][4])
    assert row == {"nan": -np.inf, "text": "a", "some_bytes": [{"b64": "/w=="}]}
    monkeypatch.setattr(numeric, "STEP", 8)
    assert tfserving.encode(BY_ROW, Reply(outputs))[0] == whole
    assert tfserving.encode(BY_COLUMN, Reply({"y": outputs["y"]}))[0].count(b"[") == 1 + 7 + 21


def test_string_outputs_are_text_unless_their_name_says_bytes() -> None:
    strings = np.array([b"a", b"b"], object)
    assert encode(BY_ROW, label=strings) == {"predictions": ["a", "b"]}
    assert encode(BY_ROW, label_bytes=strings) == {"predictions": [{"b64": "YQ=="}, {"b64": "Yg=="}]}


def test_an_output_without_rows_can_be_had_by_column_only() -> None:
    scalar, matrix = np.array(1.5, np.float32), np.zeros((2, 1), np.float32)
    assert encode(BY_COLUMN, y=scalar) == {"outputs": 1.5}
    assert encode(BY_COLUMN, y=scalar, z=matrix) == {"outputs": {"y": 1.5, "z": [[0.0], [0.0]]}}
    for outputs in ({"y": scalar}, {"y": scalar, "z": matrix}):
        with pytest.raises(InvalidRequest, match=r"^Tensor name: y has no rows; ask by 'inputs'"):
            encode(BY_ROW, **outputs)


def test_outputs_of_unequal_rows_can_be_had_by_column_only() -> None:
    outputs: dict[str, Array] = {"y": np.zeros((2, 1), np.float32), "z": np.zeros((3,), np.int8)}
    assert encode(BY_COLUMN, **outputs) == {"outputs": {"y": [[0.0], [0.0]], "z": [0, 0, 0]}}
    with pytest.raises(InvalidRequest, match=r"^Tensor name: z has inconsistent batch size: 3 expecting: 2;"):
        encode(BY_ROW, **outputs)
