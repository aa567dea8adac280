"""TensorFlow Serving's own client, its generated classes over gRPC, against a pod that runs."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from service.types import ELEMENT_TYPES

A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.array([[10], [20]], np.int32)
SAMPLES = [
    *(np.array([[0, 1], [2, 3]], element.numpy) for element in ELEMENT_TYPES if not element.is_string),
    np.array([[b"", b"\xff\x00"], [b"long" * 99, b"d"]], object),
]


@pytest.fixture
def channel(rpc_address: str) -> Iterator[grpc.Channel]:
    """Open one that tries nothing again by itself."""
    with grpc.insecure_channel(rpc_address, options=[("grpc.enable_retries", 0)]) as found:
        yield found


@pytest.fixture
def client(channel: grpc.Channel) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request(model: str = "kinds", signature: str = "", **inputs: Any) -> predict_pb2.PredictRequest:
    found = predict_pb2.PredictRequest()
    found.model_spec.name, found.model_spec.signature_name = model, signature
    for name, array in inputs.items():
        found.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return found


def arrays(response: predict_pb2.PredictResponse) -> dict[str, Any]:
    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def refusal(call: Any, message: Any) -> tuple[grpc.StatusCode, str | None]:
    """Return the status of a call that fails."""
    with pytest.raises(grpc.RpcError) as error:
        call(message, timeout=20)
    return error.value.code(), error.value.details()


def test_predicts(client: Any) -> None:
    response = client.Predict(request(a=A, b=B))
    found = arrays(response)
    np.testing.assert_array_equal(found["sum"], A + B)
    np.testing.assert_array_equal(found["product"], A * B)
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("kinds", 1, "serving_default")


def test_numbers_are_answered_one_by_one_as_many_programs_read_them(client: Any) -> None:
    assert list(client.Predict(request(a=A, b=B)).outputs["sum"].float_val) == (A + B).ravel().tolist()


@pytest.mark.parametrize("sample", SAMPLES, ids=[element.oip for element in ELEMENT_TYPES])
def test_every_type_comes_back_as_it_was(client: Any, sample: Any) -> None:
    element = next(element for element in ELEMENT_TYPES if element.numpy == sample.dtype)
    response = client.Predict(request(signature=f"of_{element.oip}", x=sample))
    assert tf.as_dtype(response.outputs["y"].dtype).as_datatype_enum == tf.make_tensor_proto(sample).dtype
    np.testing.assert_array_equal(arrays(response)["y"], sample)


def test_only_the_outputs_that_are_asked_for_come(client: Any) -> None:
    wanted = request(a=A, b=B)
    wanted.output_filter.append("product")
    assert list(client.Predict(wanted).outputs) == ["product"]


@pytest.mark.parametrize("packing", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_packed_request_is_understood(client: Any, packing: Any) -> None:
    many = np.ones((4000, 3), np.float32)
    response = client.Predict(request(a=many, b=np.ones((4000, 1), np.int32)), compression=packing)
    assert arrays(response)["sum"].sum() == 2 * many.size


def test_megabytes_go_both_ways(rpc_address: str) -> None:
    many = np.arange(1_500_000, dtype=np.float32).reshape(1, -1)
    wide = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(rpc_address, options=wide) as channel:
        client = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = client.Predict(request(signature="of_FP32", x=many))
    np.testing.assert_array_equal(arrays(response)["y"], many)


def test_a_version_may_be_asked_for(client: Any) -> None:
    wanted = request(a=A, b=B)
    wanted.model_spec.version.value = 1
    assert client.Predict(wanted).model_spec.version.value == 1
    wanted.model_spec.version.value = 7
    assert refusal(client.Predict, wanted) == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Specific(kinds, 7)",
    )


def test_what_is_wrong_is_named(client: Any) -> None:
    wrong = grpc.StatusCode.INVALID_ARGUMENT
    assert refusal(client.Predict, request("other", a=A)) == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Latest(other)",
    )
    assert refusal(client.Predict, predict_pb2.PredictRequest()) == (wrong, "Missing ModelSpec")
    assert refusal(client.Predict, request(a=A, c=B)) == (
        wrong,
        "input size does not match signature: Sent extra: {c}. Missing but required: {b}.",
    )
    code, text = refusal(client.Predict, request(a=A, b=B.astype(np.int64)))
    assert (code, text) == (wrong, "input 'b': dtype is DT_INT64, expected DT_INT32")
    code, text = refusal(client.Predict, request(a=A[:, :2], b=B))
    assert (code, text) == (wrong, "input 'a' has shape [2, 2], expected [-1, 3]")
    code, text = refusal(client.Predict, request(signature="none", a=A, b=B))
    assert (code, '"none" not found' in str(text)) == (wrong, True)


def test_the_signatures_are_told(client: Any) -> None:
    wanted = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    wanted.model_spec.name = "kinds"
    response = client.GetModelMetadata(wanted)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    default = found.signature_def["serving_default"]
    assert [(size.size) for size in default.inputs["a"].tensor_shape.dim] == [-1, 3]
    assert default.inputs["b"].dtype == tf.int32.as_datatype_enum
    assert set(default.outputs) == {"sum", "product"}
    wanted.metadata_field[:] = ["other"]
    assert refusal(client.GetModelMetadata, wanted)[1] == "Metadata field other is not supported"


def test_the_state_of_a_model_is_told(channel: grpc.Channel) -> None:
    wanted = get_model_status_pb2.GetModelStatusRequest()
    wanted.model_spec.name = "kinds"
    client = model_service_pb2_grpc.ModelServiceStub(channel)
    (status,) = client.GetModelStatus(wanted).model_version_status
    assert (status.version, status.state, status.status.error_code) == (1, status.AVAILABLE, 0)
    wanted.model_spec.name = "other"
    assert refusal(client.GetModelStatus, wanted) == (
        grpc.StatusCode.NOT_FOUND,
        "Could not find any versions of model other",
    )


def test_what_is_not_served_is_not_implemented(client: Any) -> None:
    code, text = refusal(client.Classify, classification_pb2.ClassificationRequest())
    assert (code, text) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "no such method is served here: /tensorflow.serving.PredictionService/Classify",
    )
