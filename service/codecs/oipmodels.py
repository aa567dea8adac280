"""The Open Inference Protocol v2: what it tells of the server and of its models.

Sources: the protocol's specification/protocol/inference_rest.md (open-inference-protocol on GitHub), and of Triton's
docs/protocol extension_model_repository.md (the index) and extension_model_configuration.md.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from service.codecs import jsontensor
from service.errors import InvalidRequest
from service.types import DEFAULT_SIGNATURE, Signature, Signatures, TensorSpec, VersionState

#: By Triton's names. `schedule_policy` stands for the parameters `timeout` and `priority`.
_EXTENSIONS: Final = ("binary_tensor_data", "model_configuration", "parameters", "schedule_policy")

#: Triton's words by TensorFlow Serving's.
_STATES: Final = {"START": "LOADING", "LOADING": "LOADING", "AVAILABLE": "READY", "UNLOADING": "UNLOADING"}


class _Index(msgspec.Struct):
    ready: bool = False


_index: Final = msgspec.json.Decoder(_Index)


def decode_index(body: bytes) -> bool:
    """Return whether only the models that are ready are asked for: {"ready"?: bool}. Raises InvalidRequest."""
    try:
        return _index.decode(body).ready if body.strip() else False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"not an index request: {error}") from None


def server(name: str, version: str) -> dict[str, Any]:
    """Return the server's metadata."""
    return {"name": name, "version": version, "extensions": _EXTENSIONS}


def model(name: str, platform: str, versions: list[str], signatures: Signatures) -> dict[str, Any]:
    """Return the model's metadata: inputs and outputs of the signature that is called where none is named."""
    signature = _default(signatures)
    return {
        "name": name,
        "versions": versions,
        "platform": platform,
        "inputs": _metadata(signature.inputs),
        "outputs": _metadata(signature.outputs),
    }


def config(name: str, platform: str, max_rows: int, signatures: Signatures) -> dict[str, Any]:
    """Return as much of Triton's model configuration as its clients read.

    Sizes are without the batch's if requests may share one, of at most `max_rows` rows; if not, that is told as 0.
    """
    signature = _default(signatures)
    found = {
        "name": name,
        "platform": platform,
        "backend": platform.partition("_")[0],
        "max_batch_size": max_rows if signature.batches else 0,
        "input": _config(signature.inputs, batches=signature.batches),
        "output": _config(signature.outputs, batches=signature.batches),
    }
    return found | ({"dynamic_batching": {}} if signature.batches else {})


def index(states: Iterable[VersionState]) -> list[dict[str, str]]:
    """Return the repository's index: every version of every model, in Triton's words."""
    return [
        {
            "name": state.model,
            "version": state.version,
            "state": _STATES.get(state.state, "UNAVAILABLE"),
            "reason": state.reason,
        }
        for state in states
    ]


def _default(signatures: Signatures) -> Signature:
    return signatures.get(DEFAULT_SIGNATURE) or signatures[min(signatures)]


def _metadata(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    return [
        {"name": name, "datatype": spec.element.oip, "shape": jsontensor.shape_of(spec)} for name, spec in specs.items()
    ]


def _config(specs: Mapping[str, TensorSpec], *, batches: bool) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "data_type": f"TYPE_{'STRING' if spec.element.is_string else spec.element.oip}",
            "dims": jsontensor.shape_of(spec)[batches:],
        }
        for name, spec in specs.items()
    ]
