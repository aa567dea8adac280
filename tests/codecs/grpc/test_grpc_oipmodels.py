"""service/codecs/grpc/oipmodels.py: what is told of the server and its models, against the protocol's own classes."""

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from service.codecs.grpc import oipmodels, wire
from service.types import ELEMENT_TYPES, Signature, VersionState
from tests.codecs.forms import spec

ALL = {element.oip: spec(element, None, 8) for element in ELEMENT_TYPES}


def test_the_server_tells_its_name_and_what_it_can_do() -> None:
    found = service_pb2.ServerMetadataResponse.FromString(oipmodels.encode_server("s", "1.2"))
    assert (found.name, found.version) == ("s", "1.2")
    assert list(found.extensions) == ["model_configuration", "parameters", "schedule_policy"]


@pytest.mark.parametrize("flag", [True, False])
def test_health_is_told_to_all_who_ask(flag: bool) -> None:
    body = oipmodels.encode_flag(flag=flag)
    assert service_pb2.ServerLiveResponse.FromString(body).live is flag
    assert service_pb2.ServerReadyResponse.FromString(body).ready is flag
    assert service_pb2.ModelReadyResponse.FromString(body).ready is flag
    assert oipmodels.encode_health(ready=flag) == (b"\x08\x01" if flag else b"\x08\x02")  # SERVING and NOT_SERVING


def test_metadata_tells_of_the_signature_that_is_called() -> None:
    signature = Signature(ALL, {"y": spec("object")})
    for name in ("serving_default", "other"):
        body = oipmodels.encode_model("m", "tensorflow_savedmodel", ["1", "2"], {name: signature})
        found = service_pb2.ModelMetadataResponse.FromString(body)
        assert (found.name, list(found.versions), found.platform) == ("m", ["1", "2"], "tensorflow_savedmodel")
        assert {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in found.inputs} == {
            name: (name, [-1, 8]) for name in ALL
        }
        assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in found.outputs] == [("y", "BYTES", [])]


def test_the_configuration_has_tritons_types_and_counts_rows_where_requests_share_batches() -> None:
    body = oipmodels.encode_config("m", "tensorflow_savedmodel", 64, {"serving_default": Signature(ALL, ALL)})
    config = service_pb2.ModelConfigResponse.FromString(body).config
    assert (config.name, config.platform, config.backend) == ("m", "tensorflow_savedmodel", "tensorflow")
    assert (config.max_batch_size, config.HasField("dynamic_batching")) == (64, True)
    for tensors in (config.input, config.output):
        found = {tensor.name: model_config_pb2.DataType.Name(tensor.data_type) for tensor in tensors}
        assert found == {name: f"TYPE_{'STRING' if name == 'BYTES' else name}" for name in ALL}
        assert all(list(tensor.dims) == [8] for tensor in tensors)
    fixed = Signature({"x": spec("int8", None, 8)}, {"y": spec("bool", 2)})
    body = oipmodels.encode_config("m", "litert_tflite", 64, {"serving_default": fixed})
    config = service_pb2.ModelConfigResponse.FromString(body).config
    assert (config.max_batch_size, config.HasField("dynamic_batching")) == (0, False)
    assert (list(config.input[0].dims), list(config.output[0].dims)) == ([-1, 8], [2])


@pytest.mark.parametrize("ready", [True, False])
def test_an_index_is_asked_for_with_or_without_what_is_not_ready(ready: bool) -> None:
    request = service_pb2.RepositoryIndexRequest(repository_name="r", ready=ready)
    assert oipmodels.decode_index(wire.load(request.SerializeToString())) is ready


def test_the_index_has_every_version_in_tritons_words() -> None:
    states = {"START": "LOADING", "AVAILABLE": "READY", "UNLOADING": "UNLOADING", "END": "UNAVAILABLE"}
    body = oipmodels.encode_index(VersionState("m", "1", state, "why") for state in states)
    found = service_pb2.RepositoryIndexResponse.FromString(body).models
    assert [(model.name, model.version, model.state, model.reason) for model in found] == [
        ("m", "1", word, "why") for word in states.values()
    ]
