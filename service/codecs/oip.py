"""The Open Inference Protocol v2: infer requests and their answers, in JSON, in binary, and mixed.

Sources: the protocol's specification/protocol/inference_rest.md (open-inference-protocol on GitHub), and of Triton's
docs/protocol extension_binary_data.md and extension_schedule_policy.md. Beyond them: FP16 is spoken in JSON too, as
numbers; and the request's parameter `signature_name` chooses a signature, for which the protocol has no field.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from service.codecs import binary, http, jsontensor, tfdocument
from service.codecs.jsontensor import Read
from service.codecs.oiprequest import ABSENT, Infer, Input, Output, OutputParameters, Parameters, parse
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
)

JSON_LENGTH: Final = "Inference-Header-Content-Length"
_JSON_LENGTH: Final = JSON_LENGTH.lower().encode()

_DATATYPES: Final = {element.numpy: element.oip for element in ELEMENT_TYPES}
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")


def decode(body: bytes, headers: Mapping[bytes, bytes], signatures: Signatures) -> Call:
    """Return the call that an infer request makes.

    {"id"?, "inputs": [{"name", "shape", "datatype", "data": nested or flat list, row by row}, …],
     "outputs"?: [{"name", "parameters"?: {"binary_data"}}, …],
     "parameters"?: {"timeout": microseconds, "priority", "binary_data_output", "signature_name"}}

    Where the header Inference-Header-Content-Length says how long this is, the bytes of tensors follow, in the order
    of those inputs that have "parameters": {"binary_data_size"} instead of "data". If it says 0, the whole body is the
    only input's. Raises InvalidRequest.
    """
    length = _json_length(headers, len(body))
    if not length and body:
        return _decode_raw(body, signatures)
    request, read = parse(body if length == len(body) else body[:length])
    return call_of(request, memoryview(body)[length:], read, signatures)


def call_of(request: Infer[Any], rest: memoryview, read: Read, signatures: Signatures) -> Call:
    """Return the call of a request whose data `read` reads, or is `rest`, all of it. Raises InvalidRequest."""
    parameters = request.parameters or Parameters()
    name, signature = _signature(parameters.signature_name, signatures)
    arrays = _arrays(request.inputs, signature, rest, read)
    if len(arrays) > 1 and signature.batches and len({len(array) for array in arrays.values()}) > 1:
        raise InvalidRequest("all inputs must have the same first dimension")
    outputs, in_binary = _wanted(request.outputs or [], signature, in_binary=parameters.binary_data_output)
    return Call(
        name,
        arrays,
        outputs=outputs,
        priority=1 if parameters.priority == 1 else 0,
        seconds=parameters.timeout / 1e6 if parameters.timeout else math.inf,
        id=request.id or "",
        binary=in_binary,
    )


def encode(call: Call, reply: Reply) -> tuple[bytes, Mapping[str, str]]:
    """Return the answer, in the form of a request: bytes of tensors follow the JSON, whose length a header tells then.

    {"model_name", "model_version", "id"?, "outputs": [{"name", "shape", "datatype", "data": flat}, …]}
    """
    answer: dict[str, Any] = {"model_name": reply.model, "model_version": reply.version}
    if call.id:
        answer["id"] = call.id
    arrays = {name: reply.outputs[name] for name in (reply.outputs if call.outputs is None else call.outputs)}
    blocks: list[bytes | memoryview] = []
    answer["outputs"] = []
    for name, array in arrays.items():
        output: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": _DATATYPES[array.dtype]}
        if name in call.binary:
            blocks.append(binary.write(array))
            output["parameters"] = {"binary_data_size": len(blocks[-1])}
        else:
            output["data"] = jsontensor.written(array.ravel())
        answer["outputs"].append(output)
    head = jsontensor.dump(answer)
    if not blocks:
        return head, http.JSON
    return b"".join([head, *blocks]), {"Content-Type": "application/octet-stream", JSON_LENGTH: str(len(head))}


def _json_length(headers: Mapping[bytes, bytes], size: int) -> int:
    """Return how many of the body's bytes are JSON: all, unless the header says something else."""
    given = headers.get(_JSON_LENGTH)
    if given is None:
        return size
    text = given.decode("latin-1")
    if not _INTEGER.fullmatch(text):
        raise InvalidRequest(f"Unable to parse {JSON_LENGTH}, got: {text[:64]}")
    if not 0 <= int(text) <= size:
        raise InvalidRequest(f"inference header size should be in range (0, {size}), got: {int(text)}")
    return int(text)


def _decode_raw(body: bytes, signatures: Signatures) -> Call:
    """Return the call of a body that is one tensor and nothing else, answered in binary.

    It has the shape of the signature, whose one free size is what the bytes make it; if there are two and the first is
    the batch's, that is 1. A string stands alone, as it is.
    """
    name, signature = _signature(None, signatures)
    if len(signature.inputs) != 1:
        raise InvalidRequest(f"a body without JSON is one input; there are {', '.join(signature.inputs)}")
    ((key, spec),) = signature.inputs.items()
    free = [axis for axis, size in enumerate(spec.shape or ()) if size is None]
    if spec.shape is None or len(free) > 1 + signature.batches:
        raise InvalidRequest(f"a body without JSON leaves one size open; input {key!r} has {jsontensor.shape_of(spec)}")
    shape = [1 if size is None else size for size in spec.shape]
    data = len(body).to_bytes(4, "little") + body if spec.element.is_string else body
    if free and not spec.element.is_string:
        shape[free[-1]] = len(body) // (spec.element.numpy.itemsize * math.prod(shape) or 1)
    array = binary.read(memoryview(data), spec.element, shape)
    return Call(name, {key: jsontensor.fit(key, array, spec)}, binary=frozenset(signature.outputs))


def _signature(wanted: str | None, signatures: Signatures) -> tuple[str, Signature]:
    """Return the signature of that name; without one `serving_default`, or else the first."""
    name = wanted or (DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in signatures else min(signatures))
    return name, tfdocument.signature_of(name, signatures)


def _arrays(inputs: list[Input[Any]], signature: Signature, rest: memoryview, read: Read) -> dict[str, Array]:
    """Return the inputs by name; the data of those in binary is `rest`, all of it."""
    given = [tensor.name for tensor in inputs]
    if given != list(signature.inputs) and sorted(given) != sorted(signature.inputs):
        raise InvalidRequest(f"the inputs are {jsontensor.quoted(given)}; expected {', '.join(signature.inputs)}")
    arrays: dict[str, Array] = {}
    for tensor in inputs:
        spec = signature.inputs[tensor.name]
        size = tensor.parameters.binary_data_size if tensor.parameters else None
        try:
            array = _array(tensor, spec.element, size, rest, read)
        except InvalidRequest as error:
            raise InvalidRequest(f"input {tensor.name!r}: {error}") from None
        arrays[tensor.name] = jsontensor.fit(tensor.name, array, spec)
        rest = rest[size or 0 :]
    if rest:
        raise InvalidRequest(f"{len(rest)} bytes of binary data follow the last input's")
    return arrays


def _array(tensor: Input[Any], element: ElementType, size: int | None, rest: memoryview, read: Read) -> Array:
    """Return one input; its data is in the JSON, or the first `size` bytes of `rest`."""
    if tensor.parameters and tensor.parameters.shared_memory_region is not None:
        raise InvalidRequest("shared memory is not supported: send the data")
    if tensor.datatype != element.oip:
        raise InvalidRequest(f"datatype is {jsontensor.quoted(tensor.datatype)}, expected {element.oip}")
    jsontensor.check_shape(tensor.shape)
    if isinstance(tensor.data, memoryview):  # gRPC's raw_input_contents
        return binary.read(tensor.data, element, tensor.shape)
    if size is None:
        return _filled(_values(tensor, element, read), tensor.shape)
    if tensor.data is not ABSENT:
        raise InvalidRequest("it has both data and binary_data_size")
    if size > len(rest):
        raise InvalidRequest(f"binary_data_size is {size}, but {len(rest)} bytes of binary data are left")
    return binary.read(rest[:size], element, tensor.shape)


def _filled(array: Array, shape: list[int]) -> Array:
    """Return the array in the shape declared, if that is the one it has or it is a flat one of as many elements."""
    if array.ndim != 1 and list(array.shape) != shape:
        raise InvalidRequest(f"data has shape {list(array.shape)}, but says {jsontensor.quoted(shape)}")
    if array.size != math.prod(shape):
        raise InvalidRequest(f"{array.size} elements do not fill the shape {jsontensor.quoted(shape)}")
    return array.reshape(shape)


def _values(tensor: Input[Any], element: ElementType, read: Read) -> Array:
    """Return the data as it is nested; most is flat, and plain."""
    if tensor.data is ABSENT:
        raise InvalidRequest("it has neither data nor binary_data_size")
    if not isinstance(tensor.data, msgspec.Raw):
        return jsontensor.build(tensor.data, element)
    for rank in (1, len(tensor.shape)):
        array = read(tensor.data, element, rank)
        if array is not None:
            return array
    return jsontensor.build(jsontensor.loads(bytes(tensor.data)), element)


def _wanted(
    outputs: list[Output], signature: Signature, *, in_binary: bool
) -> tuple[tuple[str, ...] | None, frozenset[str]]:
    """Return the outputs asked for, None for all, and those to be answered in binary; by default `in_binary`."""
    if not outputs:
        return None, frozenset(signature.outputs if in_binary else ())
    forms = dict.fromkeys(signature.outputs, in_binary)
    for output in outputs:
        if output.name not in signature.outputs:
            raise InvalidRequest(f"no output {output.name[:256]!r}; the outputs are {', '.join(signature.outputs)}")
        parameters = output.parameters or OutputParameters()
        if parameters.classification is not None:
            raise InvalidRequest(f"output {output.name!r}: classification is not supported")
        if parameters.shared_memory_region is not None:
            raise InvalidRequest(f"output {output.name!r}: shared memory is not supported")
        if parameters.binary_data is not None:
            forms[output.name] = parameters.binary_data
    return tuple(output.name for output in outputs), frozenset(name for name, form in forms.items() if form)
