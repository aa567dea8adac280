"""service/codecs/grpc/oip.py: the Open Inference Protocol's infer messages, against its own classes."""

import math
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import InferResult
from tritonclient.grpc.service_pb2 import InferParameter, ModelInferRequest, ModelInferResponse

from service.codecs.grpc import oip, wire
from service.errors import InvalidRequest
from service.types import ELEMENT_TYPES, Call, ElementType, Reply, Signature
from tests.codecs.forms import random_array, same, signatures, spec
from tests.codecs.grpc import messages

X = signatures({"x": spec("float32", None, 2)}, {"y": spec("float32", None), "z": spec("object", None)})
ROWS = np.array([[1, 2], [3, 4]], np.float32)
RAW = pytest.mark.parametrize("raw", [True, False], ids=["raw", "contents"])
ELEMENT = pytest.mark.parametrize("element", ELEMENT_TYPES, ids=lambda element: element.numpy.name)


def decode(request: Any, of: Any = None) -> Call:
    return oip.decode(wire.load(request.SerializeToString()), of or X)


def refused(request: Any, of: Any = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decode(request, of)
    return str(caught.value)


def changed(raw: bool = True, **fields: Any) -> Any:
    """Return a request for `x` of which some fields are others."""
    request = messages.infer({"x": ROWS}, raw=raw)
    for name, value in fields.items():
        if isinstance(value, list):
            request.inputs[0].ClearField(name)
            getattr(request.inputs[0], name).extend(value)
        else:
            setattr(request.inputs[0], name, value)
    return request


def asked(**parameters: Any) -> Call:
    request = messages.infer({"x": ROWS})
    for name, parameter in parameters.items():
        request.parameters[name].CopyFrom(InferParameter(**parameter))
    return decode(request)


@RAW
@pytest.mark.parametrize("seed", range(20))
def test_whatever_a_client_sends_arrives(seed: int, raw: bool) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(int(size) for size in random.integers(1, 9, 2))
    elements = [element for element in ELEMENT_TYPES if raw or element.oip != "FP16"]
    arrays = {element.oip: random_array(random, element, shape) for element in elements}
    call = decode(messages.infer(arrays, raw=raw), signatures({e.oip: spec(e, None, None) for e in elements}))
    assert all(same(call.inputs[name], array) for name, array in arrays.items())
    assert bool(call.binary) is raw


@RAW
@ELEMENT
@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (3,), (2, 3)], ids=str)
def test_an_answer_reads_as_the_outputs(element: ElementType, shape: tuple[int, ...], raw: bool) -> None:
    array = random_array(np.random.default_rng(1), element, shape)
    call = Call("", {}, id="ä", binary=frozenset("y" if raw else ""))
    response = ModelInferResponse.FromString(oip.encode(call, Reply({"y": array}, "m", "3")))
    assert (response.model_name, response.model_version, response.id) == ("m", "3", "ä")
    assert (response.outputs[0].datatype, list(response.outputs[0].shape)) == (element.oip, list(shape))
    assert len(response.raw_output_contents) == (raw or element.oip == "FP16")
    if raw or element.oip == "FP16":
        found = InferResult(response).as_numpy("y")
    else:  # which Triton does not answer with, and its client does not read
        contents = getattr(response.outputs[0].contents, messages.CONTENTS[element.numpy.name][1])
        found = np.array(list(contents), element.numpy)
    assert same(found.reshape(shape), array)


def test_inputs_and_outputs_may_come_in_any_order() -> None:
    two = signatures({"a": spec("float32", None), "b": spec("int8", None)})
    arrays = {"b": np.array([-1, 2], np.int8), "a": ROWS[0]}
    for raw in (True, False):
        call = decode(messages.infer(arrays, "b", "a", raw=raw), two)
        assert all(same(call.inputs[name], array) for name, array in arrays.items())
        response = ModelInferResponse.FromString(oip.encode(call, Reply(arrays)))
        assert [output.name for output in response.outputs] == ["b", "a"]
        assert [list(output.contents.int_contents) for output in response.outputs] == (
            [[], []] if raw else [[-1, 2], []]
        )


def test_the_outputs_asked_for_are_those_of_the_signature() -> None:
    assert decode(messages.infer({"x": ROWS}, "z")).outputs == ("z",)
    assert decode(messages.infer({"x": ROWS})).outputs is None
    assert refused(messages.infer({"x": ROWS}, "w")) == "no output 'w'; the outputs are y, z"


def test_a_request_says_which_model_it_is_about_and_its_own_id() -> None:
    request = ModelInferRequest(model_name="ä", model_version="12", id="7")
    assert oip.model_of(wire.load(request.SerializeToString())) == ("ä", 12, None)
    assert oip.model_of(wire.load(ModelInferRequest(model_name="m").SerializeToString())) == ("m", None, None)
    request.model_version = "x"
    with pytest.raises(InvalidRequest, match=r"^Failed to convert version: x to numeric\.$"):
        oip.model_of(wire.load(request.SerializeToString()))
    request = messages.infer({"x": ROWS})
    request.id = "7"
    assert decode(request).id == "7"


def test_parameters_are_those_of_the_other_form() -> None:
    for kind in ("int64_param", "uint64_param"):
        assert asked(timeout={kind: 2_500_000}).seconds == 2.5
        assert [asked(priority={kind: level}).priority for level in (0, 1, 2)] == [0, 1, 0]
    assert asked(timeout={"int64_param": 0}).seconds == math.inf
    assert asked(priority={"uint64_param": 2**63 - 1}).priority == 0
    call = asked(
        a={"bool_param": False}, b={"double_param": 0.5}, c={"string_param": ""}, d={"uint64_param": 2**64 - 1}, e={}
    )
    assert call == Call("serving_default", call.inputs, binary=frozenset("yz"))


def test_a_signature_is_chosen_by_its_name() -> None:
    other = {**X, "other": Signature({"x": spec("float32", None, None)}, {"w": spec("float32", None)})}
    request = messages.infer({"x": ROWS})
    request.parameters["signature_name"].string_param = "other"
    assert decode(request, other).signature == "other"
    assert refused(request) == 'Serving signature name: "other" not found in signature def'


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("timeout", {"int64_param": -1}),
        ("timeout", {"uint64_param": 2**63}),
        ("timeout", {"double_param": 0.5}),
        ("timeout", {"double_param": math.inf}),
        ("timeout", {"double_param": math.nan}),
        ("timeout", {"string_param": "1"}),
        ("priority", {"bool_param": True}),
        ("priority", {}),
        ("signature_name", {"int64_param": 1}),
    ],
)
def test_a_parameter_of_a_wrong_type_is_refused(name: str, parameter: Any) -> None:
    with pytest.raises(InvalidRequest, match=rf"^not an infer request: .*{name}"):
        asked(**{name: parameter})


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "got `float`"),
        (b"1234567", "7 bytes are no numbers"),
        (b"12345678" * 2, "got `float`"),
        (8, "of another type"),
    ],
)
def test_a_double_has_its_eight_bytes(data: Any, error: str) -> None:
    parameters = wire.dump({4: {1: "priority", 2: {4: data}}})
    with pytest.raises(InvalidRequest, match=error):
        oip.decode(wire.load(messages.infer({"x": ROWS}).SerializeToString() + parameters), X)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (changed(datatype="FP64"), "input 'x': datatype is \"FP64\", expected FP32"),
        (changed(shape=[4]), "input 'x' has shape [4], expected [-1, 2]"),
        (changed(shape=[2, 3]), "input 'x': 16 bytes, but FP32 of that shape has 24"),
        (changed(shape=[2, 3], raw=False), "input 'x': 4 elements do not fill the shape [2, 3]"),
        (changed(shape=[-2, -2]), "input 'x': a size is negative in the shape [-2, -2]"),
        (changed(shape=[2, 2, 2**62]), "input 'x': too large is the shape [2, 2, 4611686018427387904]"),
        (changed(shape=[0, 2**60]), "input 'x': too large is the shape [0, 1152921504606846976]"),
        (changed(shape=[1] * 33), f"input 'x': more than 32 dimensions are in the shape [{'1, ' * 32}1]"),
        (changed(name="w"), 'the inputs are ["w"]; expected x'),
        (ModelInferRequest(), "the inputs are []; expected x"),
        (messages.infer({"x": ROWS, "w": ROWS}), "there are 2 inputs, more than any signature has"),
        (messages.infer({"x": ROWS[:0]}, raw=False), "input 'x' has no rows: its shape is [0, 2]"),
    ],
)
def test_an_input_at_fault_is_told_of(request_: Any, error: str) -> None:
    assert refused(request_) == error


def test_tensors_are_raw_or_in_contents_and_all_there() -> None:
    request = messages.infer({"x": ROWS})
    request.raw_input_contents.append(b"")
    assert refused(request) == "there are 2 raw_input_contents for 1 inputs"
    request = messages.infer({"x": ROWS}, raw=False)
    request.raw_input_contents.append(b"")
    assert refused(request) == "inputs are to be in contents or in raw_input_contents, not in both"
    del request.raw_input_contents[:]
    request.inputs[0].ClearField("contents")
    assert refused(request) == "input 'x': 0 elements do not fill the shape [2, 2]"


def test_contents_are_where_their_type_has_them() -> None:
    request = messages.infer({"x": ROWS}, raw=False)
    request.inputs[0].contents.fp64_contents.append(1)
    assert refused(request) == "input 'x': field 7 of contents is not for FP32"
    half = signatures({"x": spec("float16", None, 2)})
    assert refused(changed(raw=False, datatype="FP16"), half) == "input 'x': FP16 is to be in raw_input_contents"
    byte = signatures({"x": spec("int8", None)})
    request = messages.infer({"x": np.array([1, 128], np.int16)}, raw=False)
    request.inputs[0].datatype = "INT8"
    assert refused(request, byte) == "input 'x': a value is no int8"


@pytest.mark.parametrize("raw", [b"", b"\x04\0\0\0abc", b"\x03\0\0\0abcd", b"\xff\xff\xff\xffabc", b"\x01\0"])
def test_raw_strings_end_where_they_say(raw: bytes) -> None:
    request = messages.infer({"x": np.array([b"abc"], object)})
    request.raw_input_contents[0] = raw
    assert refused(request, signatures({"x": spec("object", None)})).startswith("input 'x': ")


def test_what_is_not_supported_is_refused() -> None:
    request = messages.infer({"x": ROWS}, raw=False)
    request.inputs[0].parameters["shared_memory_region"].string_param = "region"
    assert refused(request) == "input 'x': shared memory is not supported: send the data"
    request = messages.infer({"x": ROWS}, "y")
    request.outputs[0].parameters["classification"].int64_param = 3
    assert refused(request) == "output 'y': classification is not supported"
