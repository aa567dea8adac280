"""The Open Inference Protocol's gRPC messages: infer.

Source: specification/protocol/inference_grpc.md and open_inference_grpc.proto (open-inference-protocol on GitHub); the
numbers are theirs. A request is turned into what the JSON of the other form is parsed to, and so means the same.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from service.codecs import binary, http, oip
from service.codecs.grpc import tensor, wire
from service.codecs.grpc.wire import Fields
from service.codecs.oiprequest import Infer, Input, InputParameters, Output, OutputParameters, Parameters
from service.errors import InvalidRequest
from service.types import Array, Call, ElementType, Reply, Signatures

P = TypeVar("P", bound=msgspec.Struct)

_ID, _PARAMETERS, _INPUTS, _OUTPUTS, _RAW = 3, 4, 5, 6, 7
#: Where each type's elements stand in InferTensorContents; there is no place for FP16.
_CONTENTS: Final = {
    "BOOL": 1,
    **dict.fromkeys(("INT8", "INT16", "INT32"), 2),
    "INT64": 3,
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), 4),
    "UINT64": 5,
    "FP32": 6,
    "FP64": 7,
    "BYTES": 8,
}
_FLOATS: Final = ("FP32", "FP64")


def model_of(request: Fields) -> tuple[str, int | None, None]:
    """Return the name and version of the model that any request is about. Raises InvalidRequest."""
    version = wire.last(request, 2, "")
    return wire.last(request, 1, ""), http.version_of(version) if version else None, None


def decode(request: Fields, signatures: Signatures) -> Call:
    """Return the call that a ModelInferRequest makes. Raises InvalidRequest."""
    count, raw = len(request[_INPUTS]), wire.blocks(request, _RAW)
    if count > max(len(signature.inputs) for signature in signatures.values()):
        raise InvalidRequest(f"there are {count} inputs, more than any signature has")
    if raw and len(raw) != count:
        raise InvalidRequest(f"there are {len(raw)} raw_input_contents for {count} inputs")
    blocks: Sequence[bytes | memoryview | None] = raw or [None] * count
    parameters = _parameters(request, _PARAMETERS, Parameters)
    parameters.binary_data_output = bool(raw)  # the answer has the request's form
    infer = Infer[Any](
        inputs=list(map(_input, wire.messages(request, _INPUTS), blocks)),
        id=wire.last(request, _ID, ""),
        outputs=[
            Output(wire.last(each, 1, ""), _parameters(each, 2, OutputParameters))
            for each in wire.messages(request, _OUTPUTS)
        ],
        parameters=parameters,
    )
    return oip.call_of(infer, memoryview(b""), _read, signatures)


def encode(call: Call, reply: Reply) -> bytes:
    """Return a ModelInferResponse: in raw bytes if the request was, or if there is no other form."""
    arrays = {name: reply.outputs[name] for name in (reply.outputs if call.outputs is None else call.outputs)}
    raw = bool(call.binary) or any(tensor.BY_KIND[array.dtype].oip not in _CONTENTS for array in arrays.values())
    outputs = [
        {
            1: name,
            2: tensor.BY_KIND[array.dtype].oip,
            3: list(array.shape),
            5: None if raw else {_CONTENTS[tensor.BY_KIND[array.dtype].oip]: _contents(array)},
        }
        for name, array in arrays.items()
    ]
    blocks = [binary.write(array) for array in arrays.values()] if raw else None
    return wire.dump({1: reply.model, 2: reply.version, 3: call.id or None, 5: outputs, 6: blocks})


def _input(proto: Fields, raw: bytes | memoryview | None) -> Input[Any]:
    """Return one input, whose data is its raw bytes, or its contents."""
    if proto[5] and raw is not None:
        raise InvalidRequest("inputs are to be in contents or in raw_input_contents, not in both")
    return Input(
        name=wire.last(proto, 1, ""),
        shape=wire.sizes(proto, 3),
        datatype=wire.last(proto, 2, ""),
        data=msgspec.Raw(wire.last(proto, 5, b"")) if raw is None else memoryview(raw),
        parameters=_parameters(proto, 4, InputParameters),
    )


def _parameters(proto: Fields, number: int, kind: type[P]) -> P:
    """Return the parameters that are known here. Raises InvalidRequest if one of them is of a wrong type."""
    if not proto[number]:
        return kind()
    entries = {wire.last(entry, 1, ""): entry for entry in wire.messages(proto, number)}
    given = {name: _parameter(wire.message(entries[name], 2)) for name in kind.__struct_fields__ if name in entries}
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"not an infer request: {error}") from None


def _parameter(proto: Fields) -> bool | int | str | float | None:
    if proto[1]:
        return bool(wire.last(proto, 1, 0))
    if proto[2] or proto[5]:
        return wire.signed(wire.last(proto, 2, 0)) or wire.last(proto, 5, 0)
    if proto[4]:
        return float(wire.floats(proto, 4, np.float64)[-1:].sum())
    return wire.last(proto, 3, "") if proto[3] else None


def _read(data: bytes | msgspec.Raw, element: ElementType, _rank: int | None) -> Array:
    """Return the elements of an InferTensorContents, in a row."""
    if element.oip not in _CONTENTS:
        raise InvalidRequest(f"{element.oip} is to be in raw_input_contents")
    contents, number = wire.load(memoryview(data), wire.MANY), _CONTENTS[element.oip]
    if others := [other for other, values in contents.items() if values and other != number]:
        raise InvalidRequest(f"field {others[0]} of contents is not for {element.oip}")
    if element.is_string:
        return tensor.of_strings(wire.blocks(contents, number))
    if element.oip in _FLOATS:
        return wire.floats(contents, number, element.numpy)
    return tensor.of_integers(wire.integers(contents, number), element)


def _contents(array: Array) -> list[bytes] | bytes | memoryview:
    """Return a tensor's elements as one field of InferTensorContents."""
    element = tensor.BY_KIND[array.dtype]
    if element.is_string:
        return tensor.strings(array)
    return binary.write(array) if element.oip in _FLOATS else wire.packed(array)
