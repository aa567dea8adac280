"""The Open Inference Protocol's gRPC messages: what it tells of the server and of its models, and gRPC's own of health.

Sources: as of oip.py; of Triton's extensions grpc_service.proto and model_config.proto; grpc/health/v1/health.proto.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from service.codecs import oipmodels
from service.codecs.grpc import wire
from service.codecs.grpc.wire import Fields
from service.types import Signatures, VersionState

#: Triton's DataType, in the order of its numbers.
_NAMES: Final = "BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 STRING"
_TYPES: Final = {f"TYPE_{name}": number for number, name in enumerate(_NAMES.split(), 1)}
_SERVING, _NOT_SERVING = 1, 2


def encode_server(name: str, version: str) -> bytes:
    """Return a ServerMetadataResponse."""
    return wire.dump({1: name, 2: version, 3: ["model_configuration", "parameters", "schedule_policy"]})


def encode_flag(*, flag: bool) -> bytes:
    """Return a ServerLiveResponse, ServerReadyResponse or ModelReadyResponse."""
    return wire.dump({1: flag})


def encode_health(*, ready: bool) -> bytes:
    """Return a HealthCheckResponse."""
    return wire.dump({1: _SERVING if ready else _NOT_SERVING})


def encode_model(name: str, platform: str, versions: list[str], signatures: Signatures) -> bytes:
    """Return a ModelMetadataResponse."""
    found = oipmodels.model(name, platform, versions, signatures)
    inputs, outputs = (
        [{1: tensor["name"], 2: tensor["datatype"], 3: tensor["shape"]} for tensor in found[side]]
        for side in ("inputs", "outputs")
    )
    return wire.dump({1: name, 2: versions, 3: platform, 4: inputs, 5: outputs})


def encode_config(name: str, platform: str, max_rows: int, signatures: Signatures) -> bytes:
    """Return a ModelConfigResponse."""
    found = oipmodels.config(name, platform, max_rows, signatures)
    config: Mapping[int, Any] = {
        1: name,
        2: platform,
        4: found["max_batch_size"],
        5: [{1: each["name"], 2: _TYPES[each["data_type"]], 4: each["dims"]} for each in found["input"]],
        6: [{1: each["name"], 2: _TYPES[each["data_type"]], 3: each["dims"]} for each in found["output"]],
        11: found.get("dynamic_batching"),
        17: found["backend"],
    }
    return wire.dump({1: config})


def decode_index(request: Fields) -> bool:
    """Return whether a RepositoryIndexRequest asks for the models that are ready only. Raises InvalidRequest."""
    return bool(wire.last(request, 2, 0))


def encode_index(states: Iterable[VersionState]) -> bytes:
    """Return a RepositoryIndexResponse."""
    entries = oipmodels.index(states)
    return wire.dump({1: [dict(enumerate(entry.values(), 1)) for entry in entries]})
