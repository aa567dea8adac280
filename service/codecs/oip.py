"""The Open Inference Protocol v2 in JSON: infer, health, server and model metadata.

Source: the protocol's specification/protocol/inference_rest.md (open-inference-protocol on GitHub).
"""

import contextlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from service.codecs import http, jsontensor
from service.errors import InvalidRequest
from service.types import (
    DEFAULT_SIGNATURE,
    ELEMENT_TYPES,
    Array,
    Call,
    ElementType,
    Reply,
    Signature,
    Signatures,
    TensorSpec,
)

PLATFORM: Final = "tensorflow_savedmodel"

_DATATYPES: Final = {element.numpy: element.oip for element in ELEMENT_TYPES}
#: [1000000000000, 0] costs the caller nothing, but the model that adds up its rows: such sizes are bounded together.
_EMPTY: Final = 1 << 16

T = TypeVar("T")


class _Input(msgspec.Struct, Generic[T]):
    """One tensor; `data` is parsed, or still text."""

    name: str
    shape: list[int]
    datatype: str
    data: T


class _Output(msgspec.Struct):
    name: str


class _Parameters(msgspec.Struct):
    """Of a whole request; `timeout` in microseconds, as Triton's extension_schedule_policy.md has it; 0 is none."""

    timeout: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class _Infer(msgspec.Struct, Generic[T]):
    """An infer request; unknown keys and parameters are ignored."""

    inputs: list[_Input[T]]
    id: str | None = None
    outputs: list[_Output] | None = None
    parameters: _Parameters | None = None


_infer: Final = msgspec.json.Decoder(_Infer[msgspec.Raw])


def decode(body: bytes, _headers: Mapping[str, str], signatures: Signatures) -> Call:
    """Return the call that an infer request makes, of the signature `serving_default` or else the only one.

    {"id"?, "inputs": [{"name", "shape", "datatype", "data": nested or flat list, row by row}, …],
     "outputs"?: [{"name"}, …], "parameters"?: {"timeout": microseconds}}

    Raises InvalidRequest.
    """
    signature_name = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in signatures else min(signatures)
    signature = signatures[signature_name]
    request = _envelope(body)
    given = [tensor.name for tensor in request.inputs]
    if sorted(given) != sorted(signature.inputs):
        raise InvalidRequest(f"the inputs are {jsontensor.quoted(given)}; expected {', '.join(signature.inputs)}")
    arrays = {tensor.name: _array(tensor, signature.inputs[tensor.name]) for tensor in request.inputs}
    if signature.batches and len({len(array) for array in arrays.values()}) > 1:
        raise InvalidRequest("all inputs must have the same first dimension")
    timeout = request.parameters.timeout if request.parameters else 0
    seconds = timeout / 1e6 if timeout else math.inf
    return Call(signature_name, arrays, outputs=_wanted(request, signature), seconds=seconds, id=request.id or "")


def encode(call: Call, reply: Reply) -> tuple[bytes, Mapping[str, str]]:
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
            "datatype": _DATATYPES[array.dtype],
            "data": array.ravel() if plain else jsontensor.plain(array.ravel()),
        }
        for name, array in arrays.items()
    ]
    return jsontensor.dump(answer) if plain else json.dumps(answer).encode(), http.JSON


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
    signature = signatures.get(DEFAULT_SIGNATURE) or signatures[min(signatures)]
    return jsontensor.dump(
        {
            "name": name,
            "versions": versions,
            "platform": PLATFORM,
            "inputs": _metadata(signature.inputs),
            "outputs": _metadata(signature.outputs),
        }
    )


def _envelope(body: bytes) -> _Infer[Any]:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _infer.decode(body)
    try:
        return msgspec.convert(jsontensor.loads(body), _Infer[Any])  # takes a NaN, or says what is wrong
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"not an infer request: {error}") from None


def _array(tensor: _Input[Any], spec: TensorSpec) -> Array:
    try:
        array = _shaped(_values(tensor, spec.element), tensor.shape)
    except InvalidRequest as error:
        raise InvalidRequest(f"input {tensor.name!r}: {error}") from None
    return jsontensor.fit(tensor.name, array, spec)


def _shaped(array: Array, shape: list[int]) -> Array:
    """Return the array in the shape declared, if that is the one it has or it is a flat one of as many elements."""
    if len(shape) > jsontensor.MAX_RANK:
        fault = f"more than {jsontensor.MAX_RANK} dimensions are in the shape"
    elif any(size < 0 for size in shape):
        fault = "a size is negative in the shape"
    elif array.ndim != 1 and list(array.shape) != shape:
        fault = f"data has shape {list(array.shape)}, but says"
    elif array.size != math.prod(shape):
        fault = f"{array.size} elements do not fill the shape"
    elif not array.size and math.prod(size or 1 for size in shape) > _EMPTY:
        fault = "without elements, this is too large a shape:"
    else:
        return array.reshape(shape)
    raise InvalidRequest(f"{fault} {jsontensor.quoted(shape)}")


def _values(tensor: _Input[Any], element: ElementType) -> Array:
    """Return the data as it is nested; most is flat, and plain."""
    if tensor.datatype != element.oip:
        raise InvalidRequest(f"datatype is {jsontensor.quoted(tensor.datatype)}, expected {element.oip}")
    if tensor.datatype == "FP16":
        raise InvalidRequest("FP16 cannot be sent in JSON")
    if not isinstance(tensor.data, msgspec.Raw):
        return jsontensor.build(tensor.data, element)
    for rank in (1, len(tensor.shape)):
        array = jsontensor.read(tensor.data, element, rank)
        if array is not None:
            return array
    return jsontensor.build(jsontensor.loads(bytes(tensor.data)), element)


def _wanted(request: _Infer[Any], signature: Signature) -> tuple[str, ...] | None:
    names = tuple(output.name for output in request.outputs or ())
    for name in names:
        if name not in signature.outputs:
            raise InvalidRequest(f"no output {name[:256]!r}; the outputs are {', '.join(signature.outputs)}")
    return names or None


def _metadata(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    return [
        {"name": name, "datatype": spec.element.oip, "shape": jsontensor.shape_of(spec)} for name, spec in specs.items()
    ]
