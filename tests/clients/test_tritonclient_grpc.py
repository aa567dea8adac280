"""Triton's own client over gRPC, blocking, with callbacks and in asyncio, against a pod that runs."""

import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc
from tritonclient.grpc import aio
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from service.types import ELEMENT_TYPES

A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.array([[10], [20]], np.int32)


@pytest.fixture
def client(rpc_address: str) -> Iterator[grpc.InferenceServerClient]:
    with grpc.InferenceServerClient(rpc_address) as found:
        yield found


def tensor(name: str, array: Any, datatype: str) -> grpc.InferInput:
    given = grpc.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return given


def inputs() -> list[grpc.InferInput]:
    return [tensor("a", A, "FP32"), tensor("b", B, "INT32")]


def check(result: grpc.InferResult) -> None:
    np.testing.assert_array_equal(result.as_numpy("sum"), A + B)
    np.testing.assert_array_equal(result.as_numpy("product"), A * B)


def test_server_and_model_are_live_and_ready(client: grpc.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("kinds")
    assert client.is_model_ready("kinds", "1")
    with pytest.raises(InferenceServerException, match=r"NOT_FOUND.*Specific\(kinds, 2\)"):
        client.is_model_ready("kinds", "2")


def test_metadata_and_configuration_tell_of_the_model(client: grpc.InferenceServerClient) -> None:
    assert client.get_server_metadata().name == "tfpod"
    metadata = client.get_model_metadata("kinds", "1")
    assert {tensor.name: list(tensor.shape) for tensor in metadata.inputs} == {"a": [-1, 3], "b": [-1, 1]}
    assert {tensor.name: tensor.datatype for tensor in metadata.inputs} == {"a": "FP32", "b": "INT32"}
    config = client.get_model_config("kinds", as_json=True)["config"]
    assert config["max_batch_size"] > 0
    assert {tensor["name"]: tensor["dims"] for tensor in config["input"]} == {"a": ["3"], "b": ["1"]}
    assert {tensor["data_type"] for tensor in config["output"]} == {"TYPE_FP32"}


def test_the_repository_has_an_index(client: grpc.InferenceServerClient) -> None:
    (entry,) = client.get_model_repository_index().models
    assert (entry.name, entry.version, entry.state) == ("kinds", "1", "READY")


def test_infers(client: grpc.InferenceServerClient) -> None:
    result = client.infer("kinds", inputs(), request_id="no. 7")
    check(result)
    assert result.get_response().id == "no. 7"


def test_only_the_outputs_that_are_asked_for_come(client: grpc.InferenceServerClient) -> None:
    result = client.infer("kinds", inputs(), outputs=[grpc.InferRequestedOutput("product")])
    assert [output.name for output in result.get_response().outputs] == ["product"]


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_a_packed_request_is_understood(client: grpc.InferenceServerClient, packing: str) -> None:
    check(client.infer("kinds", inputs(), compression_algorithm=packing))


def test_infers_with_a_callback(client: grpc.InferenceServerClient) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.async_infer("kinds", inputs(), lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=20)
    assert error is None
    check(result)


@pytest.mark.parametrize("element", ELEMENT_TYPES, ids=[element.oip for element in ELEMENT_TYPES])
def test_every_type_comes_back_as_it_was(client: grpc.InferenceServerClient, element: Any) -> None:
    values = [[b"", b"\xff\x00"], [b"c", b"d"]] if element.is_string else [[0, 1], [2, 3]]
    sample = np.array(values, triton_to_np_dtype(element.oip))
    parameters = {"signature_name": f"of_{element.oip}"}
    result = client.infer("kinds", [tensor("x", sample, element.oip)], parameters=parameters)
    np.testing.assert_array_equal(result.as_numpy("y"), sample)


def test_what_is_wrong_is_named(client: grpc.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="Servable not found for request: Latest\\(other\\)"):
        client.infer("other", inputs())
    with pytest.raises(InferenceServerException, match='datatype is "INT64", expected INT32'):
        client.infer("kinds", [tensor("a", A, "FP32"), tensor("b", B.astype(np.int64), "INT64")])


@pytest.mark.anyio
async def test_infers_in_asyncio(rpc_address: str) -> None:
    async with aio.InferenceServerClient(rpc_address) as client:
        assert await client.is_model_ready("kinds")
        check(await client.infer("kinds", inputs(), timeout=5_000_000))
