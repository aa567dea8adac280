"""The schemas say of a body what the formats' decoders do, whatever a model's signatures are like."""

import json
from typing import Any

import jsonschema
import numpy as np
import pytest

from service.codecs import oip, tfserving
from service.errors import InvalidRequest
from service.types import ELEMENT_TYPES, Reply, Signature, Signatures, TensorSpec
from service.web import schemas

TYPES = {element.oip: element for element in ELEMENT_TYPES}


def spec(datatype: str, *shape: int | None) -> TensorSpec:
    return TensorSpec(TYPES[datatype], shape)


def one(**tensors: TensorSpec) -> dict[str, Signature]:
    """Return a model's signatures: one, whose outputs are its inputs."""
    return {"serving_default": Signature(tensors, tensors)}


VECTOR = one(x=spec("FP32", None, 2))
PAIR = one(a=spec("INT8", None), b=spec("BYTES", None, 1))
FIXED = one(x=spec("BOOL", 2))
SCALAR = one(x=spec("INT64"))
SEVERAL: Signatures = VECTOR | {"other": Signature({"n": spec("UINT8", None)}, {"n": spec("UINT8", None)})}


def valid(body: Any, schema: schemas.Schema) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(body))


@pytest.mark.parametrize(
    ("signatures", "body"),
    [
        (VECTOR, {"instances": [[1, 2.5], [3, 4]]}),
        (VECTOR, {"instances": [{"x": [1, 2]}]}),
        (VECTOR, {"inputs": [[1, 2]]}),
        (VECTOR, {"inputs": {"x": [[1, 2]], "unknown": 1}, "signature_name": "serving_default"}),
        (VECTOR, {"inputs": [[1, 2]], "signature_name": ""}),
        (PAIR, {"instances": [{"a": -128, "b": ["text"]}, {"a": 127, "b": [{"b64": "AAE="}]}]}),
        (PAIR, {"inputs": {"a": [1], "b": [["x"]]}}),
        (FIXED, {"instances": [True, False]}),
        (FIXED, {"inputs": [True, False]}),
        (SCALAR, {"inputs": 2**63 - 1}),
        (SEVERAL, {"signature_name": "other", "instances": [255]}),
        (SEVERAL, {"instances": [[1, 2]]}),
    ],
)
def test_a_predict_request_that_is_taken_fits(signatures: Signatures, body: Any) -> None:
    tfserving.decode(json.dumps(body).encode(), {}, signatures)
    assert valid(body, schemas.predict(signatures))


@pytest.mark.parametrize(
    ("signatures", "body"),
    [
        (VECTOR, {}),
        (VECTOR, []),
        (VECTOR, {"instances": []}),
        (VECTOR, {"instances": [[1]]}),
        (VECTOR, {"instances": [[1, "2"]]}),
        (VECTOR, {"instances": [[1, 1e39]]}),
        (VECTOR, {"inputs": {"y": [[1, 2]]}}),
        (VECTOR, {"instances": [[1, 2]], "signature_name": "other"}),
        (PAIR, {"instances": [{"a": 1}]}),
        (PAIR, {"instances": [{"a": 128, "b": ["x"]}]}),
        (PAIR, {"instances": [{"a": 1.5, "b": ["x"]}]}),
        (PAIR, {"inputs": {"a": [1], "b": [[{"b64": "AA==", "c": 1}]]}}),
        (FIXED, {"instances": [True]}),
        (SCALAR, {"instances": [1]}),
        (SCALAR, {"inputs": 2**63}),
        (SEVERAL, {"signature_name": "other", "instances": [[1, 2]]}),
    ],
)
def test_a_predict_request_that_is_refused_does_not(signatures: Signatures, body: Any) -> None:
    with pytest.raises(InvalidRequest):
        tfserving.decode(json.dumps(body).encode(), {}, signatures)
    assert not valid(body, schemas.predict(signatures))


@pytest.mark.parametrize(
    ("datatype", "largest", "next_one"),
    [
        ("FP16", 65519.99, 65520),
        ("FP32", 3.4028235677973362e38, 3.4028235677973366e38),
        ("FP64", 1.7976931348623157e308, None),
        ("INT8", 127, 128),
        ("UINT8", 255, 256),
        ("INT64", 2**63 - 1, 2**63),
        ("UINT64", 2**64 - 1, 2**64),
    ],
)
def test_the_largest_number_is_the_one_that_is_taken(datatype: str, largest: float, next_one: float | None) -> None:
    signatures = one(x=spec(datatype, None))
    body = {"instances": [largest]}
    tfserving.decode(json.dumps(body).encode(), {}, signatures)
    assert valid(body, schemas.predict(signatures))
    if next_one is not None:
        body = {"instances": [next_one]}
        with pytest.raises(InvalidRequest):
            tfserving.decode(json.dumps(body).encode(), {}, signatures)
        assert not valid(body, schemas.predict(signatures))


def infer(name: str = "x", shape: Any = (1, 2), datatype: str = "FP32", data: Any = (1, 2), **more: Any) -> Any:
    return {"inputs": [{"name": name, "shape": list(shape), "datatype": datatype, "data": list(data)}]} | more


@pytest.mark.parametrize(
    ("signatures", "body", "taken"),
    [
        (VECTOR, infer(), True),
        (VECTOR, infer(data=[[1, 2]], id="7", parameters={"timeout": 5}), True),
        (VECTOR, infer(outputs=[{"name": "x"}]), True),
        (SEVERAL, infer("n", [3], "UINT8", [1, 2, 3], parameters={"signature_name": "other"}), True),
        (SCALAR, {"inputs": [{"name": "x", "shape": [], "datatype": "INT64", "data": 5}]}, True),
        (SCALAR, infer("x", [], "INT64", [5]), True),
        (one(x=TensorSpec(TYPES["BOOL"], None)), infer("x", [1, 1], "BOOL", [[True]]), True),
        (VECTOR, infer("y"), False),
        (VECTOR, infer(shape=[2]), False),
        (VECTOR, infer(shape=[-1, 2]), False),
        (VECTOR, infer(datatype="FP64"), False),
        (VECTOR, infer(data=["a", "b"]), False),
        (VECTOR, infer(outputs=[{"name": "y"}]), False),
        (VECTOR, infer(parameters={"timeout": -1}), False),
        (SEVERAL, infer("n", [3], "UINT8", [1, 2, 3]), False),
        (VECTOR, {"inputs": []}, False),
        (VECTOR, {}, False),
    ],
)
def test_an_infer_request_fits_if_it_is_taken(signatures: Signatures, body: Any, taken: bool) -> None:
    try:
        oip.decode(json.dumps(body).encode(), {}, signatures)
    except InvalidRequest:
        assert not taken
    else:
        assert taken
    assert valid(body, schemas.infer(signatures)) == taken


@pytest.mark.parametrize("signatures", [VECTOR, PAIR, FIXED, SCALAR, SEVERAL])
def test_examples_fit_are_taken_and_are_answered_as_the_schemas_say(signatures: Signatures) -> None:
    predict, infer = schemas.examples(signatures)
    assert valid(predict, schemas.predict(signatures))
    assert valid(infer, schemas.infer(signatures))
    for codec, body, schema in (
        (tfserving, predict, schemas.predictions(signatures)),
        (oip, infer, schemas.inferred(signatures)),
    ):
        call = codec.decode(json.dumps(body).encode(), {}, signatures)
        reply = Reply(call.inputs, "m", "1")
        assert valid(json.loads(codec.encode(call, reply)[0]), schema)


def test_what_is_too_large_to_be_read_is_no_example() -> None:
    assert schemas.examples(one(x=spec("FP32", None, 32, 32, 1))) == (None, None)


def test_without_signatures_a_schema_says_what_all_models_share() -> None:
    assert schemas.examples({}) == (None, None)
    for body in ({"instances": [1]}, {"inputs": {"anything": [[[1]]]}}):
        assert valid(body, schemas.predict({}))
    assert not valid([1], schemas.predict({}))
    assert valid(infer(), schemas.infer({}))
    assert not valid({"inputs": []}, schemas.infer({}))
    assert valid({"predictions": [1]}, schemas.predictions({}))
    assert valid({"model_name": "m", "model_version": "1", "outputs": []}, schemas.inferred({}))


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT8", "INT64", "UINT64", "BOOL", "BYTES"])
def test_an_unknown_rank_leaves_the_shape_open(datatype: str) -> None:
    unknown = one(x=TensorSpec(TYPES[datatype], None))
    value = np.zeros((), TYPES[datatype].numpy).item() if datatype != "BYTES" else ""
    for body in ({"inputs": value}, {"inputs": [[[value]]]}, {"instances": [value]}):
        assert valid(body, schemas.predict(unknown))
