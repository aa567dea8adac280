"""service/codecs/oip.py: what clients of the Open Inference Protocol send and read."""

import json
from typing import Any

import numpy as np
import pytest

from service.codecs import oip
from service.errors import InvalidRequest
from service.types import Array, Call, Reply, Signature, TensorSpec
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
