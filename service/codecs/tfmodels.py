"""TensorFlow Serving's REST format: what it says of models, their state and their signatures.

Source: TensorFlow Serving's api_rest.md, and the messages of its model_service.proto as JSON.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from service.codecs import jsontensor
from service.types import Signature, Signatures, VersionState


def status(states: Iterable[VersionState]) -> dict[str, Any]:
    """Return the states of a model's versions in the form of GetModelStatus."""
    return {"model_version_status": [_status(state) for state in states]}


def metadata(name: str, version: str, signatures: Signatures) -> dict[str, Any]:
    """Return the signatures in the form of GetModelMetadata: the key is doubled and every size is a string."""
    return {
        "model_spec": {"name": name, "signature_name": "", "version": version},
        "metadata": {"signature_def": {"signature_def": {n: _signature(s) for n, s in signatures.items()}}},
    }


def _status(state: VersionState) -> dict[str, Any]:
    status = {"error_code": "UNKNOWN" if state.reason else "OK", "error_message": state.reason}
    return {"version": state.version, "state": state.state, "status": status}


def _signature(signature: Signature) -> dict[str, Any]:
    def tensors(specs: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: {
                "dtype": spec.element.tensorflow,
                "tensor_shape": {
                    "dim": [{"size": str(size), "name": ""} for size in jsontensor.shape_of(spec)],
                    "unknown_rank": spec.shape is None,
                },
                "name": spec.graph_name,
            }
            for name, spec in specs.items()
        }

    return {
        "inputs": tensors(signature.inputs),
        "outputs": tensors(signature.outputs),
        "method_name": signature.method,
        "defaults": {},
    }
