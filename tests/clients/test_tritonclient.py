"""Triton's own client, in all the forms that it has over HTTP, against a pod that runs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient import http
from tritonclient.http import aio
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from service.types import ELEMENT_TYPES

A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.array([[10], [20]], np.int32)

FORM = pytest.mark.parametrize("binary_in", [True, False], ids=["binary in", "JSON in"])
ANSWER = pytest.mark.parametrize("binary_out", [True, False], ids=["binary out", "JSON out"])


@pytest.fixture
def client(address: str) -> Iterator[http.InferenceServerClient]:
    with http.InferenceServerClient(address) as found:
        yield found


def tensor(name: str, array: Any, datatype: str, *, binary: bool = True) -> http.InferInput:
    given = http.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def inputs(*, binary: bool = True) -> list[http.InferInput]:
    return [tensor("a", A, "FP32", binary=binary), tensor("b", B, "INT32", binary=binary)]


def outputs(*names: str, binary: bool = True) -> list[http.InferRequestedOutput]:
    return [http.InferRequestedOutput(name, binary_data=binary) for name in names]


def test_server_and_model_are_live_and_ready(client: http.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("kinds")
    assert client.is_model_ready("kinds", "1")
    assert not client.is_model_ready("kinds", "2")
    assert not client.is_model_ready("other")


def test_metadata_and_configuration_tell_of_the_model(client: http.InferenceServerClient) -> None:
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("kinds", "1")
    assert metadata["versions"] == ["1"]
    assert {tensor["name"]: tensor["shape"] for tensor in metadata["inputs"]} == {"a": [-1, 3], "b": [-1, 1]}
    config = client.get_model_config("kinds")
    assert config["max_batch_size"] > 0
    assert {tensor["name"]: tensor["dims"] for tensor in config["input"]} == {"a": [3], "b": [1]}
    assert {tensor["data_type"] for tensor in config["output"]} == {"TYPE_FP32"}


def test_the_repository_has_an_index_and_leaves_loading_to_folders(client: http.InferenceServerClient) -> None:
    (entry,) = client.get_model_repository_index()
    assert entry == {"name": "kinds", "version": "1", "state": "READY", "reason": ""}
    for refused in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="models are not loaded by request"):
            refused("kinds")


@FORM
@ANSWER
@pytest.mark.parametrize("names", [["sum", "product"], ["product", "sum"], ["product"]], ids="+".join)
def test_infers(client: http.InferenceServerClient, binary_in: bool, binary_out: bool, names: list[str]) -> None:
    result = client.infer(
        "kinds", inputs(binary=binary_in), outputs=outputs(*names, binary=binary_out), request_id="no. 7"
    )
    response = result.get_response()
    assert [output["name"] for output in response["outputs"]] == names
    assert all(("data" in output) != binary_out for output in response["outputs"])
    assert (response["id"], response["model_name"], response["model_version"]) == ("no. 7", "kinds", "1")
    for name in names:
        np.testing.assert_array_equal(result.as_numpy(name), A + B if name == "sum" else A * B)


def test_forms_mix_and_no_outputs_are_all_outputs(client: http.InferenceServerClient) -> None:
    mixed = [tensor("a", A, "FP32", binary=False), tensor("b", B, "INT32", binary=True)]
    wanted = [*outputs("sum", binary=False), *outputs("product", binary=True)]
    for result in (client.infer("kinds", mixed, outputs=wanted), client.infer("kinds", mixed, model_version="1")):
        np.testing.assert_array_equal(result.as_numpy("sum"), A + B)
        np.testing.assert_array_equal(result.as_numpy("product"), A * B)


@ANSWER
@pytest.mark.parametrize(
    ("datatype", "binary_in"),
    [(element.oip, binary) for element in ELEMENT_TYPES for binary in (True, False) if binary or element.oip != "FP16"],
)
def test_every_datatype_goes_there_and_back(
    client: http.InferenceServerClient, datatype: str, binary_in: bool, binary_out: bool
) -> None:
    """FP16 the client itself sends in binary only."""
    if datatype == "BYTES":
        array = np.array([[b"", "ä\x00".encode()], [b"x" * 1000, b'"{']], object)
    else:
        array = np.array([[0, 1], [1, 7]]).astype(triton_to_np_dtype(datatype))
    result = client.infer(
        "kinds",
        [tensor("x", array, datatype, binary=binary_in)],
        outputs=outputs("y", binary=binary_out),
        parameters={"signature_name": f"of_{datatype}"},
    )
    found = result.as_numpy("y")
    if datatype == "BYTES" and not binary_out:
        found = np.array([[text.encode() for text in row] for row in found], object)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@FORM
@ANSWER
@pytest.mark.parametrize("asked", ["gzip", "deflate"])
@pytest.mark.parametrize("sent", ["gzip", "deflate"])
def test_bodies_are_packed_both_ways(
    client: http.InferenceServerClient, sent: str, asked: str, binary_in: bool, binary_out: bool
) -> None:
    array = np.arange(30_000, dtype=np.int64).reshape(100, 300)
    result = client.infer(
        "kinds",
        [tensor("x", array, "INT64", binary=binary_in)],
        outputs=outputs("y", binary=binary_out),
        parameters={"signature_name": "of_INT64"},
        request_compression_algorithm=sent,
        response_compression_algorithm=asked,
    )
    np.testing.assert_array_equal(result.as_numpy("y"), array)


def test_many_requests_at_once_are_each_answered(address: str) -> None:
    with http.InferenceServerClient(address, concurrency=8) as client:
        asked = [client.async_infer("kinds", inputs(), request_id=str(number)) for number in range(50)]
        for number, each in enumerate(asked):
            result = each.get_result()
            assert result.get_response()["id"] == str(number)
            np.testing.assert_array_equal(result.as_numpy("sum"), A + B)


@pytest.mark.anyio
@FORM
@ANSWER
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
async def test_its_other_form_awaits(address: str, binary_in: bool, binary_out: bool, coding: str | None) -> None:
    array = np.arange(30_000, dtype=np.int64).reshape(100, 300)
    async with aio.InferenceServerClient(address) as client:
        assert await client.is_model_ready("kinds")
        result = await client.infer(
            "kinds",
            [tensor("x", array, "INT64", binary=binary_in)],
            outputs=outputs("y", binary=binary_out),
            parameters={"signature_name": "of_INT64"},
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )
        np.testing.assert_array_equal(result.as_numpy("y"), array)
        with pytest.raises(InferenceServerException, match="expected a, b"):
            await client.infer("kinds", inputs()[:1])


def test_a_request_may_have_a_priority_and_a_time(client: http.InferenceServerClient) -> None:
    result = client.infer("kinds", inputs(), priority=1, timeout=5_000_000)
    np.testing.assert_array_equal(result.as_numpy("sum"), A + B)
    with pytest.raises(InferenceServerException) as caught:
        client.infer("kinds", inputs(), timeout=1)
    assert caught.value.status() == "504"


@pytest.mark.parametrize(
    ("model", "given", "status", "text"),
    [
        ("other", inputs(), "404", "Servable not found for request: Latest(other)"),
        ("kinds", inputs()[:1], "400", "expected a, b"),
        ("kinds", [tensor("a", A, "FP32"), tensor("b", A, "FP32")], "400", "datatype is"),
        ("kinds", [tensor("a", A[:, :2], "FP32"), inputs()[1]], "400", "expected [-1, 3]"),
    ],
)
def test_errors_are_the_clients_own(
    client: http.InferenceServerClient, model: str, given: list[http.InferInput], status: str, text: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, given)
    assert caught.value.status() == status
    assert text in caught.value.message()


def test_what_is_not_supported_says_so(client: http.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="classification is not supported"):
        client.infer("kinds", inputs(), outputs=[http.InferRequestedOutput("sum", class_count=2)])
    shared = http.InferInput("a", [2, 3], "FP32")
    shared.set_shared_memory("region", 24)
    with pytest.raises(InferenceServerException, match="shared memory is not supported"):
        client.infer("kinds", [shared, inputs()[1]])
