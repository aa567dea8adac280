"""service/codecs/grpc/tfserving.py: TensorFlow Serving's messages, against its own classes."""

import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.get_model_metadata_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    SignatureDefMap,
)
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from service.codecs.grpc import tfserving, wire
from service.errors import InvalidRequest
from service.types import ELEMENT_TYPES, Call, Reply, Signature, VersionState
from tests.codecs.forms import random_array, same, signatures, spec
from tests.codecs.grpc import messages

X = signatures({"x": spec("float32", None, 2)}, {"y": spec("float32", None), "z": spec("object", None)})
ROWS = np.array([[1, 2], [3, 4]], np.float32)
ALL = {element.tensorflow: spec(element, None, None) for element in ELEMENT_TYPES}


def decode(request: Any, of: Any = None) -> Call:
    return tfserving.decode(wire.load(request.SerializeToString()), of or X)


def refused(request: Any, of: Any = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decode(request, of)
    return str(caught.value)


def model_of(request: Any) -> tuple[str, int | None, str | None]:
    return tfserving.model_of(wire.load(request.SerializeToString()))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_a_client_sends_arrives(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(int(size) for size in random.integers(1, 9, 2))
    arrays = {element.tensorflow: random_array(random, element, shape) for element in ELEMENT_TYPES}
    for inputs in (arrays, {name: messages.tensor(array) for name, array in arrays.items()}):
        call = decode(messages.predict(inputs), signatures(ALL))
        assert all(same(call.inputs[name], array) for name, array in arrays.items())


@pytest.mark.parametrize("seed", range(20))
def test_an_answer_reads_as_the_outputs(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(int(size) for size in random.integers(0, 9, random.integers(0, 4)))
    outputs = {element.tensorflow: random_array(random, element, shape) for element in ELEMENT_TYPES}
    body = tfserving.encode(Call("serving_default", {}), Reply(outputs, "m", "3"))
    answer = PredictResponse.FromString(body)
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("m", 3, "serving_default")
    assert set(answer.outputs) == set(outputs)
    for name, array in outputs.items():
        found = tf.make_ndarray(answer.outputs[name])
        assert same(found.astype(object) if name == "DT_STRING" else found, array)


def test_the_request_says_which_model_it_is_about() -> None:
    request = messages.predict({}, name="ä")
    assert model_of(request) == ("ä", None, None)
    for version in (0, 7, -1):
        request.model_spec.version.value = version
        assert model_of(request) == ("ä", version, None)
    request.model_spec.version_label = "stable"
    assert model_of(request) == ("ä", None, "stable")


@pytest.mark.parametrize(
    ("request_", "error"),
    [(PredictRequest(), "Missing ModelSpec"), (messages.predict({}, name=""), "ModelSpec has no name specified.")],
)
def test_a_request_about_no_model_is_refused(request_: Any, error: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{re.escape(error)}$"):
        model_of(request_)


def test_a_signature_is_chosen_by_its_name() -> None:
    other = {**X, "other": Signature({"w": spec("int64", None)}, {"y": spec("int64", None)})}
    assert decode(messages.predict({"x": ROWS}), other).signature == "serving_default"
    call = decode(messages.predict({"w": np.array([-1])}, signature="other"), other)
    assert (call.signature, call.inputs["w"].tolist(), call.by_row) == ("other", [-1], False)
    error = 'Serving signature name: "none" not found in signature def'
    assert refused(messages.predict({"x": ROWS}, signature="none"), other) == error


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    body = messages.predict({"x": -ROWS}).SerializeToString() + messages.predict({"x": ROWS}).SerializeToString()
    assert PredictRequest.FromString(body).inputs["x"] == tf.make_tensor_proto(ROWS)
    assert same(tfserving.decode(wire.load(body), X).inputs["x"], ROWS)


def test_the_inputs_must_be_those_of_the_signature() -> None:
    found = refused(messages.predict({"v": ROWS, "u": ROWS}))
    assert found == "input size does not match signature: Sent extra: {u,v}. Missing but required: {x}."
    assert refused(messages.predict({})).endswith("Sent extra: {}. Missing but required: {x}.")


def test_an_input_at_fault_is_named() -> None:
    assert refused(messages.predict({"x": ROWS.astype(int)})) == "input 'x': dtype is DT_INT64, expected DT_FLOAT"
    assert refused(messages.predict({"x": ROWS[0]})) == "input 'x' has shape [2], expected [-1, 2]"
    assert refused(messages.predict({"x": ROWS[:0]})) == "input 'x' has no rows: its shape is [0, 2]"
    two = signatures({"a": spec("float32", None), "b": spec("float32", None)})
    found = refused(messages.predict({"a": ROWS[0], "b": np.ones(3, np.float32)}), two)
    assert found == "all inputs must have the same number of rows: a 2, b 3"


def test_only_the_outputs_asked_for_are_answered() -> None:
    reply = Reply({"y": ROWS, "z": ROWS}, "m", "1")
    for wanted, expected in (([], {"y", "z"}), (["z"], {"z"}), (["z", "y", "z"], {"y", "z"})):
        call = decode(messages.predict({"x": ROWS}, *wanted))
        assert set(PredictResponse.FromString(tfserving.encode(call, reply)).outputs) == expected


def test_an_output_that_there_is_not_is_refused() -> None:
    found = refused(messages.predict({"x": ROWS}, "y", "w"))
    assert found == "output tensor alias not found in signature: w Outputs expected to be in the set {y,z}."


def test_a_model_is_told_by_its_signatures() -> None:
    body = tfserving.encode_metadata("m", "3", {"one": Signature(ALL, {"y": spec("object")}, "a/method"), **X})
    answer = GetModelMetadataResponse.FromString(body)
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("m", 3)
    found = SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    assert set(found.signature_def) == {"one", "serving_default"}
    one = found.signature_def["one"]
    assert one.method_name == "a/method"
    assert {name: tf.as_dtype(info.dtype).name for name, info in one.inputs.items()} == {
        name: "string" if tensor.element.is_string else tensor.element.numpy.name for name, tensor in ALL.items()
    }
    assert [dim.size for dim in found.signature_def["serving_default"].inputs["x"].tensor_shape.dim] == [-1, 2]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["signature_def", "x"], "Metadata field x is not supported"),
        (["signature_def"], ""),
    ],
)
def test_there_is_one_kind_of_metadata(fields: list[str], error: str) -> None:
    request = wire.load(GetModelMetadataRequest(metadata_field=fields).SerializeToString())
    if not error:
        tfserving.decode_metadata(request)
        return
    with pytest.raises(InvalidRequest, match=f"^{error}$"):
        tfserving.decode_metadata(request)


def test_every_version_tells_its_state() -> None:
    words = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
    states = [VersionState("m", str(number), state, "why" * (state == "END")) for number, state in enumerate(words)]
    answer = GetModelStatusResponse.FromString(tfserving.encode_status(states))
    found = [(each.version, ModelVersionStatus.State.Name(each.state)) for each in answer.model_version_status]
    assert found == list(enumerate(words))
    codes = [(each.status.error_code, each.status.error_message) for each in answer.model_version_status]
    assert codes == [(0, "")] * 4 + [(2, "why")]
