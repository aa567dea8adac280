"""service/codecs/oipmodels.py: what the Open Inference Protocol tells of the server and its models."""

import pytest

from service.codecs import oipmodels
from service.errors import InvalidRequest
from service.types import Signature, VersionState
from tests.codecs.forms import spec


def test_metadata_tells_of_the_signature_that_is_called() -> None:
    signature = Signature({"x": spec("float32", None, 8)}, {"y": spec("object")})
    for name in ("serving_default", "other"):
        assert oipmodels.model("m", "tensorflow_savedmodel", ["1"], {name: signature}) == {
            "name": "m",
            "versions": ["1"],
            "platform": "tensorflow_savedmodel",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 8]}],
            "outputs": [{"name": "y", "datatype": "BYTES", "shape": []}],
        }


def test_the_server_is_as_the_specification_has_it() -> None:
    server = oipmodels.server("s", "1.2")
    assert (server["name"], server["version"]) == ("s", "1.2")
    assert [*server["extensions"]] == ["binary_tensor_data", "model_configuration", "parameters", "schedule_policy"]


def test_the_configuration_counts_rows_where_requests_share_batches() -> None:
    rows = Signature({"x": spec("float32", None, 8)}, {"y": spec("object", None)})
    config = oipmodels.config("m", "tensorflow_savedmodel", 64, {"serving_default": rows})
    assert config == {
        "name": "m",
        "platform": "tensorflow_savedmodel",
        "backend": "tensorflow",
        "max_batch_size": 64,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [8]}],
        "output": [{"name": "y", "data_type": "TYPE_STRING", "dims": []}],
        "dynamic_batching": {},
    }
    fixed = Signature({"x": spec("int8", None, 8)}, {"y": spec("bool", 2)})
    config = oipmodels.config("m", "litert_tflite", 64, {"serving_default": fixed})
    assert (config["platform"], config["backend"]) == ("litert_tflite", "litert")
    assert (config["max_batch_size"], "dynamic_batching" in config) == (0, False)
    assert [config[key][0]["dims"] for key in ("input", "output")] == [[-1, 8], [2]]


@pytest.mark.parametrize(
    ("body", "ready"),
    [(b"", False), (b" ", False), (b"{}", False), (b'{"ready": true, "x": 1}', True), (b'{"ready": false}', False)],
)
def test_an_index_is_asked_for_with_or_without_what_is_not_ready(body: bytes, ready: bool) -> None:
    assert oipmodels.decode_index(body) is ready


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"ready": 1}', b'{"x": ' + b"[" * 50_000])
def test_another_body_asks_for_no_index(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not an index request: "):
        oipmodels.decode_index(body)


def test_the_index_has_every_version_in_tritons_words() -> None:
    states = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
    index = oipmodels.index(VersionState("m", state, state, "why") for state in states)
    assert index[0] == {"name": "m", "version": "START", "state": "LOADING", "reason": "why"}
    assert [entry["state"] for entry in index] == ["LOADING", "LOADING", "READY", "UNLOADING", "UNAVAILABLE"]
