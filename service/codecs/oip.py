"""The Open Inference Protocol v2 in JSON: infer, health, server and model metadata.

Source: the protocol's specification/protocol/inference_rest.md (open-inference-protocol on GitHub).
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from service.codecs import jsontensor
from service.errors import InvalidRequest
from service.types import ELEMENT_TYPES, Array, Call, Reply, Signature, Signatures, TensorSpec

PLATFORM: Final = "tensorflow_savedmodel"

_DEFAULT_SIGNATURE: Final = "serving_default"


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw


class _Output(msgspec.Struct):
    name: str


class _Infer(msgspec.Struct):
    """An infer request; unknown keys and parameters are ignored."""

    inputs: list[_Input]
    id: str = ""
    outputs: list[_Output] = []


_infer: Final = msgspec.json.Decoder(_Infer)


def decode(body: bytes, signatures: Signatures) -> Call:
    """Return the call that an infer request makes, of the signature `serving_default` or else the only one.

    {"id"?, "inputs": [{"name", "shape", "datatype", "data": nested or flat list, row by row}, …],
     "outputs"?: [{"name"}, …]}

    Raises InvalidRequest.
    """
    signature_name = _DEFAULT_SIGNATURE if _DEFAULT_SIGNATURE in signatures else min(signatures)
    signature = signatures[signature_name]
    request = _envelope(body)
    given = [tensor.name for tensor in request.inputs]
    if sorted(given) != sorted(signature.inputs):
        raise InvalidRequest(f"the inputs are {', '.join(given) or 'none'}; expected {', '.join(signature.inputs)}")
    arrays = {tensor.name: _array(tensor, signature.inputs[tensor.name]) for tensor in request.inputs}
    if signature.batches and len({len(array) for array in arrays.values()}) > 1:
        raise InvalidRequest("all inputs must have the same first dimension")
    return Call(signature_name, arrays, outputs=_wanted(request, signature), id=request.id)


def encode(call: Call, reply: Reply) -> bytes:
    """Return {"model_name", "model_version", "id"?, "outputs": [{"name", "shape", "datatype", "data": flat}, …]}."""
    names = reply.outputs if call.outputs is None else call.outputs
    answer: dict[str, Any] = {"model_name": reply.model, "model_version": reply.version}
    if call.id:
        answer["id"] = call.id
    arrays = {name: reply.outputs[name] for name in names}
    plain = all(jsontensor.is_plain(array) for array in arrays.values())
    answer["outputs"] = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": _datatype(array),
            "data": array.ravel() if plain else jsontensor.plain(array.ravel()),
        }
        for name, array in arrays.items()
    ]
    return jsontensor.dump(answer) if plain else json.dumps(answer).encode()


def encode_server(name: str, version: str) -> bytes:
    """Return the server's metadata."""
    return jsontensor.dump({"name": name, "version": version, "extensions": []})


def encode_live() -> bytes:
    """Return the answer of a server that lives."""
    return jsontensor.dump({"live": True})


def encode_ready(*, ready: bool, model: str = "") -> bytes:
    """Return whether the server is ready, or the model named."""
    return jsontensor.dump(({"name": model} if model else {}) | {"ready": ready})


def encode_model(name: str, versions: list[str], signatures: Signatures) -> bytes:
    """Return the model's metadata: inputs and outputs of the signature that `decode` calls."""
    signature = signatures.get(_DEFAULT_SIGNATURE) or signatures[min(signatures)]
    return jsontensor.dump(
        {
            "name": name,
            "versions": versions,
            "platform": PLATFORM,
            "inputs": _metadata(signature.inputs),
            "outputs": _metadata(signature.outputs),
        }
    )


def _envelope(body: bytes) -> _Infer:
    try:
        return _infer.decode(body)
    except RecursionError:
        raise InvalidRequest("JSON Parse error: nested too deeply") from None
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"not an infer request: {error}") from None
    except msgspec.DecodeError:
        document = jsontensor.loads(body)  # says what is wrong, or accepts NaN
    try:
        for tensor in document["inputs"]:
            tensor["data"] = msgspec.Raw(json.dumps(tensor["data"]).encode())
        return msgspec.convert(document, _Infer)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise InvalidRequest(f"not an infer request: {error}") from None


def _array(tensor: _Input, spec: TensorSpec) -> Array:
    element = spec.element
    if tensor.datatype != element.oip:
        raise InvalidRequest(f"input {tensor.name!r} has datatype {tensor.datatype!r}, expected {element.oip}")
    if element.oip == "FP16":
        raise InvalidRequest(f"input {tensor.name!r}: FP16 cannot be sent in JSON")
    if any(size < 0 for size in tensor.shape):
        raise InvalidRequest(f"input {tensor.name!r} has shape {tensor.shape}: a size is negative")
    array = jsontensor.read(tensor.data, element, 1)
    if array is None:
        array = jsontensor.read(tensor.data, element, len(tensor.shape))
    if array is None:
        try:
            array = jsontensor.build(jsontensor.loads(bytes(tensor.data)), element)
        except InvalidRequest as error:
            raise InvalidRequest(f"input {tensor.name!r}: {error}") from None
    if array.ndim != 1 and list(array.shape) != tensor.shape:
        raise InvalidRequest(f"input {tensor.name!r}: data has shape {list(array.shape)}, but says {tensor.shape}")
    if array.size != math.prod(tensor.shape):
        raise InvalidRequest(f"input {tensor.name!r}: {array.size} elements do not fill the shape {tensor.shape}")
    return jsontensor.fit(tensor.name, array.reshape(tensor.shape), spec)


def _wanted(request: _Infer, signature: Signature) -> tuple[str, ...] | None:
    names = tuple(output.name for output in request.outputs)
    for name in names:
        if name not in signature.outputs:
            raise InvalidRequest(f"no output {name!r}; the outputs are {', '.join(signature.outputs)}")
    return names or None


def _datatype(array: Array) -> str:
    return next(element.oip for element in ELEMENT_TYPES if element.numpy == array.dtype)


def _metadata(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    return [
        {"name": name, "datatype": spec.element.oip, "shape": jsontensor.shape_of(spec)} for name, spec in specs.items()
    ]
