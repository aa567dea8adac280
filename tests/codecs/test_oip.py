"""service/codecs/oip.py: what clients of the Open Inference Protocol send and read."""

import json
from typing import Any

import numpy as np
import pytest

from service.codecs import oip
from service.errors import InvalidRequest
from service.types import Array, Call, Reply, TensorSpec
from tests.codecs.forms import FLOAT, signatures, spec

ONE = signatures({"x": spec("float32", None, 2)}, {"y": spec("float32", None), "z": spec("float32", None)})
TWO = signatures({"a": spec("float32", None), "b": spec("object", None)})


def x(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]} | changes


def decode(*inputs: Any, of: Any = None, **more: Any) -> Call:
    return oip.decode(json.dumps({"inputs": inputs, **more}).encode(), {}, of or ONE)


def refused(*inputs: Any, of: Any = None, **more: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decode(*inputs, of=of, **more)
    return str(caught.value)


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]], [1.0, 2, 3e0, 4]])
def test_data_is_flat_or_nested_row_by_row(data: Any) -> None:
    assert decode(x(data=data)).inputs["x"].tolist() == [[1, 2], [3, 4]]


def test_keys_and_parameters_that_mean_nothing_here_are_ignored() -> None:
    parameters = {"more": [1]}
    output = {"name": "y", "more": 1, "parameters": parameters}
    call = decode(x(parameters=parameters, more=1), outputs=[output], parameters=parameters, more=[None])
    assert call == Call("serving_default", call.inputs, outputs=("y",))


@pytest.mark.parametrize("rest", ["", " !"])
def test_absent_parts_may_be_null(rest: str) -> None:
    body = json.dumps({"inputs": [x()], "id": None, "outputs": None, "parameters": None}) + rest
    call = oip.decode(body.encode(), {}, ONE)
    assert (call.id, call.outputs) == ("", None)


@pytest.mark.parametrize("rest", ["", " !"])
def test_of_a_key_that_comes_twice_the_last_counts(rest: str) -> None:
    tensor = json.dumps(x(data=[0]))[:-1] + ', "data": [1, 2, 3, 4]}'
    text = f'{{"inputs": [], "id": "a", "inputs": [{tensor}], "id": "b"}}{rest}'
    call = oip.decode(text.encode(), {}, ONE)
    assert (call.id, call.inputs["x"].tolist()) == ("b", [[1, 2], [3, 4]])


def test_the_id_is_echoed_whatever_is_in_it() -> None:
    for text in ("7", 'quote " and \\', "ä😀\x00\n"):
        call = decode(x(), id=text)
        for value in (1.0, np.nan):
            body, _ = oip.encode(call, Reply({"y": np.array([value])}, "m", "1"))
            assert json.loads(body)["id"] == text


def test_an_answer_names_model_version_shape_and_type() -> None:
    outputs: dict[str, Array] = {"y": np.array([[1.5, 2.0]], np.float32), "z": np.array([b"a"], object)}
    assert json.loads(oip.encode(Call("", {}), Reply(outputs, "m", "3"))[0]) == {
        "model_name": "m",
        "model_version": "3",
        "outputs": [
            {"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2.0]},
            {"name": "z", "shape": [1], "datatype": "BYTES", "data": ["a"]},
        ],
    }


def test_only_the_outputs_asked_for_are_answered_in_the_order_asked_for() -> None:
    reply = Reply({name: np.array([1.0], np.float32) for name in "yz"})
    for wanted in (["z"], ["z", "y"], ["z", "z"]):
        call = decode(x(), outputs=[{"name": name, "parameters": {}} for name in wanted])
        names = [output["name"] for output in json.loads(oip.encode(call, reply)[0])["outputs"]]
        assert names == list(dict.fromkeys(wanted))
    assert decode(x(), outputs=[]).outputs is None


def test_an_output_that_there_is_not_is_refused() -> None:
    assert refused(x(), outputs=[{"name": "w"}]) == "no output 'w'; the outputs are y, z"


@pytest.mark.parametrize(
    "inputs", [[], [x(), x()], [x(name="w")], [x(), x(name="w")]], ids=["none", "twice", "wrong", "one too many"]
)
def test_the_inputs_must_be_those_of_the_signature(inputs: Any) -> None:
    assert refused(*inputs).endswith("; expected x")


def test_inputs_may_come_in_any_order() -> None:
    b = {"name": "b", "shape": [1], "datatype": "BYTES", "data": ["text"]}
    call = decode(b, x(name="a", shape=[1], data=[1]), of=TWO)
    assert (call.inputs["a"].tolist(), call.inputs["b"].tolist()) == ([1.0], [b"text"])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"datatype": "FP64"}, "input 'x': datatype is \"FP64\", expected FP32"),
        ({"datatype": "fp32"}, "input 'x': datatype is \"fp32\", expected FP32"),
        ({"shape": [4]}, "input 'x' has shape [4], expected [-1, 2]"),
        ({"shape": [2, 3]}, "input 'x': 4 elements do not fill the shape [2, 3]"),
        ({"shape": []}, "input 'x': 4 elements do not fill the shape []"),
        ({"shape": [-2, -2]}, "input 'x': a size is negative in the shape [-2, -2]"),
        ({"shape": [2, 2, 10**19]}, "input 'x': too large is the shape [2, 2, 10000000000000000000]"),
        ({"shape": [2, 2, 10**18]}, "input 'x': 4 elements do not fill the shape [2, 2, 1000000000000000000]"),
        ({"shape": [4, 1], "data": [[1, 2], [3, 4]]}, "input 'x': data has shape [2, 2], but says [4, 1]"),
        ({"shape": [4], "data": [[1, 2], [3, 4]]}, "input 'x': data has shape [2, 2], but says [4]"),
        ({"shape": [1], "data": 1}, "input 'x': data has shape [], but says [1]"),
        ({"shape": [0, 2], "data": []}, "input 'x' has no rows: its shape is [0, 2]"),
        ({"data": [[1, 2], [3]]}, "input 'x': Encountered list at unexpected size: "),
        ({"data": [1, 2, 3, None]}, "input 'x': JSON Value: null Type: Null is not of expected type: float"),
        ({"shape": [1.0, 2]}, "not an infer request: Expected `int`, got `float` - at `$.inputs[0].shape[0]`"),
        ({"shape": [True, 2]}, "not an infer request: Expected `int`, got `bool` - at `$.inputs[0].shape[0]`"),
        ({"shape": None}, "not an infer request: Expected `array`, got `null` - at `$.inputs[0].shape`"),
        ({"name": 1}, "not an infer request: Expected `str`, got `int` - at `$.inputs[0].name`"),
    ],
)
def test_a_lie_about_an_input_is_named(changes: Any, error: str) -> None:
    assert refused(x(**changes)).startswith(error)


@pytest.mark.parametrize("value", [1.0, float("nan")])
@pytest.mark.parametrize("key", ["name", "shape", "datatype", "data"])
def test_a_missing_key_is_named(key: str, value: float) -> None:
    tensor = x(data=[value] * 4)
    del tensor[key]
    assert key in refused(tensor, more=value)


@pytest.mark.parametrize(
    "shape", [[0, 10**30], [10**12, 0], [1, 0, 2**62, 2], [2**40, 2**40, 0], [1] * 33, [10**4000], [2**62] * 100_000]
)
def test_a_declared_shape_costs_nothing(shape: list[int]) -> None:
    """Neither memory nor time, not even the time to multiply its sizes, nor an answer of its length."""
    of = signatures({"x": TensorSpec(FLOAT, None)})
    for data in ([], [1]):
        text = refused(x(shape=shape, data=data), of=of)
        assert text.startswith("input 'x': ")
        assert len(text) < 1000


def test_a_tensor_without_elements_is_fine_where_the_model_takes_it() -> None:
    of = signatures({"x": spec("float32", None, None)})
    assert decode(x(shape=[1, 0], data=[]), of=of).inputs["x"].shape == (1, 0)
    assert decode(x(shape=[1, 0], data=[[]]), of=of).inputs["x"].shape == (1, 0)


def test_a_scalar_is_flat_too() -> None:
    of = signatures({"x": spec("float32")})
    for data in (5, [5]):
        assert decode(x(shape=[], data=data), of=of).inputs["x"].shape == ()


def test_half_precision_is_numbers_in_json() -> None:
    of = signatures({"x": spec("float16", None)})
    call = decode(x(shape=[3], datatype="FP16", data=[0.1, 65504, -0.0]), of=of)
    assert call.inputs["x"].tobytes() == np.array([0.1, 65504, -0.0], np.float16).tobytes()
    assert "out of the range" in refused(x(shape=[1], datatype="FP16", data=[65520]), of=of)


def test_inputs_must_have_equally_many_rows() -> None:
    b = {"name": "b", "shape": [2], "datatype": "BYTES", "data": ["p", "q"]}
    assert refused(x(name="a", shape=[1], data=[1]), b, of=TWO) == "all inputs must have the same first dimension"


def test_the_default_signature_is_called_or_else_the_only_one() -> None:
    only = {"other": ONE["serving_default"]}
    assert decode(x(), of=only).signature == "other"
    assert decode(x(), of={"a": TWO["serving_default"], **ONE}).signature == "serving_default"


# Binary


def body(*inputs: Any, data: bytes = b"", length: int | None = None, **more: Any) -> tuple[bytes, dict[bytes, bytes]]:
    """Return a request with binary data, and its headers."""
    head = json.dumps({"inputs": inputs, **more}).encode()
    given = len(head) if length is None else length
    return head + data, {b"inference-header-content-length": str(given).encode()}


def binary_x(size: Any = 16, **changes: Any) -> dict[str, Any]:
    tensor = x(parameters={"binary_data_size": size}, **changes)
    if "data" not in changes:
        del tensor["data"]
    return tensor


def refused_body(content: bytes, headers: dict[bytes, bytes], of: Any = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        oip.decode(content, headers, of or ONE)
    return str(caught.value)


FOUR = np.array([[1, 2], [3, 4]], np.float32)


def test_an_inputs_data_may_follow_the_json() -> None:
    content, headers = body(binary_x(), data=FOUR.tobytes())
    array = oip.decode(content, headers, ONE).inputs["x"]
    assert array.tolist() == [[1, 2], [3, 4]]
    assert np.shares_memory(array, np.frombuffer(content, np.uint8))


def test_inputs_in_json_and_in_binary_mix_in_any_order() -> None:
    of = signatures({name: spec("int16", None) for name in "abc"})
    given = {"shape": [1], "datatype": "INT16"}
    inputs = [
        {"name": "c", **given, "parameters": {"binary_data_size": 2}},
        {"name": "b", **given, "data": [2]},
        {"name": "a", **given, "parameters": {"binary_data_size": 2}},
    ]
    content, headers = body(*inputs, data=b"\x03\x00\x01\x00")
    call = oip.decode(content, headers, of)
    assert {name: array.tolist() for name, array in call.inputs.items()} == {"a": [1], "b": [2], "c": [3]}


def test_json_alone_may_be_told_its_length() -> None:
    content, headers = body(x())
    assert oip.decode(content, headers, ONE).inputs["x"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("size", "data", "error"),
    [
        (15, FOUR.tobytes()[:15], "input 'x': 15 bytes, but FP32 of that shape has 16"),
        (20, FOUR.tobytes() + b"1234", "input 'x': 20 bytes, but FP32 of that shape has 16"),
        (16, FOUR.tobytes()[:15], "input 'x': binary_data_size is 16, but 15 bytes of binary data are left"),
        (16, b"", "input 'x': binary_data_size is 16, but 0 bytes of binary data are left"),
        (2**63 - 1, FOUR.tobytes(), "input 'x': binary_data_size is 9223372036854775807, but 16 bytes"),
        (16, FOUR.tobytes() + b"!", "1 bytes of binary data follow the last input's"),
        (0, FOUR.tobytes(), "input 'x': 0 bytes, but FP32 of that shape has 16"),
        (
            -1,
            FOUR.tobytes(),
            "not an infer request: Expected `int` >= 0 - at `$.inputs[0].parameters.binary_data_size`",
        ),
        (2**63, FOUR.tobytes(), "not an infer request: "),
        (10**30, FOUR.tobytes(), "not an infer request: "),
        (16.0, FOUR.tobytes(), "not an infer request: Expected `int | null`, got `float`"),
        (True, FOUR.tobytes(), "not an infer request: Expected `int | null`, got `bool`"),
        ("16", FOUR.tobytes(), "not an infer request: Expected `int | null`, got `str`"),
    ],
)
def test_a_binary_size_that_lies_is_named(size: Any, data: bytes, error: str) -> None:
    assert refused_body(*body(binary_x(size), data=data)).startswith(error)


def test_sizes_that_lie_together_are_named() -> None:
    of = signatures({name: spec("float32", None) for name in "ab"})
    inputs = [binary_x(8, name=name, shape=[2]) for name in "ab"]
    assert "but 7 bytes" in refused_body(*body(*inputs, data=b"\0" * 15), of)
    assert "1 bytes of binary data follow" in refused_body(*body(*inputs, data=b"\0" * 17), of)


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [], None])
def test_data_comes_in_one_form_only(data: Any) -> None:
    tensor = binary_x(data=data)
    assert refused_body(*body(tensor, data=FOUR.tobytes())) == "input 'x': it has both data and binary_data_size"


@pytest.mark.parametrize("nested", [True, False])
def test_numbers_that_json_has_not_are_taken_at_any_size(nested: bool) -> None:
    """And names and texts that are called as they are stay what they are."""
    of = signatures({"NaN": spec("float32", None, 2), "s": spec("object", None)})
    array = np.full((100_000, 2), -np.inf, np.float32)
    array[0] = np.nan, 1.5
    data = array.tolist() if nested else array.ravel().tolist()
    strings = ["NaN", 'an "Infinity"'] * 50_000
    call = decode(
        x(name="NaN", shape=array.shape, data=data),
        {"name": "s", "shape": [len(strings)], "datatype": "BYTES", "data": strings},
        of=of,
        id="-Infinity",
    )
    assert call.id == "-Infinity"
    assert np.array_equal(call.inputs["NaN"], array, equal_nan=True)
    assert call.inputs["s"][-2:].tolist() == [b"NaN", b'an "Infinity"']


def test_a_large_request_that_is_amiss_is_refused_with_a_reason() -> None:
    data = [float("nan")] * 100_000
    assert refused(x(data=data)).startswith("input 'x': 100000 elements do not fill")
    assert "no tensors in plain lists" in refused(x(data=[*data, None]))
    assert "no tensors in plain lists" in refused(x(data=[*data, "NaN"]))


def test_data_comes_in_some_form() -> None:
    tensor = x()
    del tensor["data"]
    assert refused(tensor) == "input 'x': it has neither data nor binary_data_size"


@pytest.mark.parametrize("shape", [[2**62, 2**62], [10**4000], [1 << 40, 0], [-2, -2], [1] * 33, [2, 2, 0]])
def test_a_shape_that_lies_is_named_before_anything_is_done(shape: list[int]) -> None:
    of = signatures({"x": TensorSpec(FLOAT, None)})
    assert len(refused_body(*body(binary_x(shape=shape), data=FOUR.tobytes()), of)) < 1000


def test_strings_whose_lengths_lie_are_refused() -> None:
    tensor = binary_x(6, name="b", shape=[1], datatype="BYTES")
    of = signatures({"b": spec("object", None)})
    text = refused_body(*body(tensor, data=b"\x03\0\0\0ab"), of)
    assert text == "input 'b': string 0 goes on after the end of the data"


@pytest.mark.parametrize("value", ["", "x", "1.5", "0x10", "+1", "1 ", "9" * 5000, "\xb2"])
def test_a_length_of_the_json_that_is_no_number_is_refused(value: str) -> None:
    text = refused_body(b"{}", {b"inference-header-content-length": value.encode("latin-1")})
    assert text == f"Unable to parse Inference-Header-Content-Length, got: {value[:64]}"


@pytest.mark.parametrize("value", ["-1", "3", "999999999999999999"])
def test_a_length_of_the_json_beyond_the_body_is_refused(value: str) -> None:
    text = refused_body(b"{}", {b"inference-header-content-length": value.encode()})
    assert text == f"inference header size should be in range (0, 2), got: {value}"


@pytest.mark.parametrize("cut", [1, 5, 1000])
def test_a_length_that_cuts_the_json_is_refused(cut: int) -> None:
    content, _ = body(x(more="x" * 2000))
    assert refused_body(content, {b"inference-header-content-length": str(cut).encode()}).startswith("JSON Parse error")


def test_json_in_front_of_binary_may_not_be_deep() -> None:
    head = b"[" * 100_000
    text = refused_body(head + b"1234", {b"inference-header-content-length": str(len(head)).encode()})
    assert text == "JSON Parse error: nested too deeply"


def test_no_change_to_a_binary_body_breaks_anything() -> None:
    random = np.random.default_rng(4)
    of = signatures({"x": spec("float32", None, 2), "s": spec("object", None)})
    strings = {"name": "s", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 11}}
    content, headers = body(binary_x(), strings, data=FOUR.tobytes() + b"\x01\0\0\0a\x02\0\0\0bc")
    refusals = 0
    for _ in range(3000):
        changed = bytearray(content)
        for _ in range(random.integers(1, 3)):
            start = random.integers(len(changed))
            changed[start : start + random.integers(0, 3)] = random.bytes(int(random.integers(0, 4)))
        try:
            assert oip.decode(bytes(changed), headers, of).inputs["x"].shape[1] == 2
        except InvalidRequest:
            refusals += 1
    assert 1000 < refusals < 3000


# Which outputs, and how


def split(answer: tuple[bytes, Any]) -> tuple[Any, bytes]:
    """Return an answer's JSON, and what follows."""
    content, headers = answer
    assert headers["Content-Type"] == "application/octet-stream"
    length = int(headers["Inference-Header-Content-Length"])
    return json.loads(content[:length]), content[length:]


@pytest.mark.parametrize(
    ("outputs", "default", "binary"),
    [
        (None, True, "yz"),
        ([], True, "yz"),
        (None, False, ""),
        ([{"name": "z"}], True, "z"),
        ([{"name": "y", "parameters": {"binary_data": True}}], False, "y"),
        ([{"name": "y", "parameters": {"binary_data": False}}, {"name": "z"}], True, "z"),
        ([{"name": "z"}, {"name": "y", "parameters": {"binary_data": True}}], False, "y"),
    ],
)
def test_each_output_is_answered_in_the_form_asked_for(outputs: Any, default: bool, binary: str) -> None:
    call = decode(x(), outputs=outputs, parameters={"binary_data_output": default})
    reply = Reply({"y": np.array([1.5], np.float32), "z": np.array([np.nan, 2], np.float32)}, "m", "1")
    names = [output["name"] for output in outputs] if outputs else ["y", "z"]
    if binary:
        answer, data = split(oip.encode(call, reply))
    else:
        content, headers = oip.encode(call, reply)
        assert headers == {"Content-Type": "application/json"}
        answer, data = json.loads(content), b""
    assert [output["name"] for output in answer["outputs"]] == names
    for output in answer["outputs"]:
        array = reply.outputs[output["name"]]
        if output["name"] in binary:
            size = output["parameters"]["binary_data_size"]
            assert "data" not in output
            assert data[:size] == array.tobytes()
            data = data[size:]
        else:
            np.testing.assert_array_equal(output["data"], array)
    assert not data


def test_what_cannot_be_answered_is_refused() -> None:
    for name, value in (("classification", 3), ("shared_memory_region", "r")):
        text = refused(x(), outputs=[{"name": "y", "parameters": {name: value}}])
        assert text == f"output 'y': {name.removesuffix('_region').replace('_', ' ')} is not supported"
    region = x(parameters={"shared_memory_region": "r", "shared_memory_byte_size": 16})
    del region["data"]
    assert refused(region) == "input 'x': shared memory is not supported: send the data"


# Parameters


def test_time_and_priority_are_taken() -> None:
    assert decode(x(), parameters={"timeout": 1_500_000}).seconds == 1.5
    assert decode(x(), parameters={"timeout": 0}).seconds == float("inf")
    assert [decode(x(), parameters={"priority": level}).priority for level in (0, 1, 2, 7)] == [0, 1, 0, 0]


@pytest.mark.parametrize(
    "parameters", [{"timeout": -1}, {"timeout": 1.5}, {"priority": "high"}, {"priority": -1}, {"binary_data_output": 1}]
)
def test_a_parameter_of_the_wrong_type_is_named(parameters: dict[str, Any]) -> None:
    assert f"$.parameters.{min(parameters)}" in refused(x(), parameters=parameters)


def test_a_parameter_chooses_the_signature() -> None:
    of = {**ONE, "other": signatures({"w": spec("float32", None)})["serving_default"]}
    call = decode(x(name="w", shape=[1], data=[1]), of=of, parameters={"signature_name": "other"})
    assert (call.signature, list(call.inputs)) == ("other", ["w"])
    text = refused(x(), of=of, parameters={"signature_name": "none"})
    assert text == 'Serving signature name: "none" not found in signature def'


# Raw


def raw(content: bytes, element: str, *shape: int | None, batches: bool = True) -> Call:
    free = spec("float32", None if batches else 1)
    return oip.decode(
        content,
        {b"inference-header-content-length": b"0"},
        signatures({"x": spec(element, *shape)}, {"y": free, "z": free}),
    )


@pytest.mark.parametrize(
    ("shape", "batches", "expected"),
    [
        ((None, 3), True, (2, 3)),
        ((None, None), True, (1, 6)),
        ((None, 2, None), True, (1, 2, 3)),
        ((None,), True, (6,)),
        ((2, None), False, (2, 3)),
        ((2, 3), False, (2, 3)),
    ],
)
def test_a_body_without_json_is_the_only_input(shape: Any, batches: bool, expected: Any) -> None:
    numbers = np.arange(6, dtype=np.float32)
    call = raw(numbers.tobytes(), "float32", *shape, batches=batches)
    assert call.inputs["x"].shape == expected
    assert call.inputs["x"].tobytes() == numbers.tobytes()
    assert call.binary == {"y", "z"}


def test_a_string_without_json_is_the_body() -> None:
    for shape in ((None,), (None, 1), (None, None)):
        assert raw(b"\x01\x02", "object", *shape).inputs["x"].ravel().tolist() == [b"\x01\x02"]


@pytest.mark.parametrize(
    ("content", "element", "shape", "batches", "error"),
    [
        (b"1234567", "float32", (None, 1), True, "7 bytes, but FP32 of that shape has 4"),
        (b"12", "float32", (None, 1), True, "2 bytes, but FP32 of that shape has 0"),
        (b"1234", "float32", (2, 3), False, "4 bytes, but FP32 of that shape has 24"),
        (b"1234", "float32", (None, None, None), True, "leaves one size open"),
        (b"1234", "float32", (None, None), False, "leaves one size open"),
        (b"1234", "object", (None, 2), True, "string 1 goes on"),
    ],
)
def test_a_body_without_json_that_fits_nothing_is_refused(
    content: bytes, element: str, shape: Any, batches: bool, error: str
) -> None:
    with pytest.raises(InvalidRequest, match=error):
        raw(content, element, *shape, batches=batches)


def test_a_body_without_json_fits_models_of_one_input() -> None:
    headers = {b"inference-header-content-length": b"0"}
    assert refused_body(b"1234", headers, TWO) == "a body without JSON is one input; there are a, b"
    assert "leaves one size open" in refused_body(b"1234", headers, signatures({"x": TensorSpec(FLOAT, None)}))
    assert refused_body(b"", headers) == "JSON Parse error: The document is empty"
