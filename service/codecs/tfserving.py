"""TensorFlow Serving's REST format: predict, model status and metadata.

Source: TensorFlow Serving's api_rest.md, and util/json_tensor.cc for what the document leaves open.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from service.codecs import http, jsontensor
from service.errors import InvalidRequest
from service.types import DEFAULT_SIGNATURE, Array, Call, ElementType, Reply, Signature, Signatures, Tensors


class _Predict(msgspec.Struct):
    """The top of a request; tensors are read once the signature is known. Unknown keys are ignored."""

    signature_name: str = DEFAULT_SIGNATURE
    instances: msgspec.Raw = msgspec.Raw(b"")
    inputs: msgspec.Raw = msgspec.Raw(b"")


_predict: Final = msgspec.json.Decoder(_Predict)


def decode(body: bytes, _headers: Mapping[str, str], signatures: Signatures) -> Call:
    """Return the call that a predict request makes.

    By row:    {"signature_name": NAME, "instances": [VALUE | {INPUT: VALUE, …}, …]}
    By column: {"signature_name": NAME, "inputs": VALUE | {INPUT: VALUE, …}}

    Raises InvalidRequest. Plain numbers take the short way; whatever is not plain is looked at in detail.
    """
    return _decode_plain(body, signatures) or _decode_any(jsontensor.loads(body), signatures)


def encode(call: Call, reply: Reply) -> tuple[bytes, Mapping[str, str]]:
    """Return `{"predictions": [ROW, …]}` for a call by row, `{"outputs": …}` for one by column.

    A row or column is bare if there is one output, an object if there are several. Raises InvalidRequest if the answer
    cannot be given by row.
    """
    outputs = reply.outputs
    key = "predictions" if call.by_row else "outputs"
    alone = len(outputs) == 1
    if call.by_row:
        _check_rows(outputs)
    if all(jsontensor.is_plain(array) for array in outputs.values()):
        return jsontensor.dump({key: _shape_answer(outputs, by_row=call.by_row, alone=alone)}), http.JSON
    lists = {name: jsontensor.plain(array, as_base64=name.endswith("_bytes")) for name, array in outputs.items()}
    return json.dumps({key: _shape_answer(lists, by_row=call.by_row, alone=alone)}).encode(), http.JSON


def encode_status(versions: Mapping[str, str]) -> bytes:
    """Return the states of a model's versions, such as {"1": "AVAILABLE"}, in the form of GetModelStatus."""
    status = {"error_code": "OK", "error_message": ""}
    return jsontensor.dump(
        {"model_version_status": [{"version": v, "state": s, "status": status} for v, s in versions.items()]}
    )


def encode_metadata(name: str, version: str, signatures: Signatures) -> bytes:
    """Return the signatures in the form of GetModelMetadata: the key is doubled and every size is a string."""
    return jsontensor.dump(
        {
            "model_spec": {"name": name, "signature_name": "", "version": version},
            "metadata": {"signature_def": {"signature_def": {n: _signature(s) for n, s in signatures.items()}}},
        }
    )


def _decode_plain(body: bytes, signatures: Signatures) -> Call | None:
    """Read a request that names one input of numbers; None if this is not one."""
    try:
        request = _predict.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    signature = signatures.get(request.signature_name)
    if signature is None or len(signature.inputs) != 1 or bool(request.instances) == bool(request.inputs):
        return None
    ((name, spec),) = signature.inputs.items()
    array = jsontensor.read(request.instances or request.inputs, spec.element, len(spec.shape or ()))
    if array is None or not array.size:
        return None
    return Call(request.signature_name, {name: jsontensor.fit(name, array, spec)}, by_row=bool(request.instances))


def _decode_any(document: Any, signatures: Signatures) -> Call:
    if not isinstance(document, dict):
        raise InvalidRequest("Is not object")
    name = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise InvalidRequest("'signature_name' key must be a string value.")
    if name not in signatures:
        raise InvalidRequest(f'Serving signature name: "{name[:256]}" not found in signature def')
    signature = signatures[name]
    if "instances" in document and "inputs" in document:
        raise InvalidRequest("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if "instances" in document:
        arrays = _rows(document["instances"], signature)
    elif "inputs" in document:
        arrays = _columns(document["inputs"], signature)
    else:
        raise InvalidRequest("Missing 'inputs' or 'instances' key")
    for key, array in arrays.items():
        jsontensor.fit(key, array, signature.inputs[key])
    if signature.batches and len({len(array) for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{key} {len(array)}" for key, array in sorted(arrays.items()))
        raise InvalidRequest(f"all inputs must have the same number of rows: {sizes}")
    return Call(name, arrays, by_row="instances" in document)


def _rows(instances: Any, signature: Signature) -> dict[str, Array]:
    if not isinstance(instances, list):
        raise InvalidRequest("Expecting 'instances' to be an list/array")
    if not instances:
        raise InvalidRequest("No values in 'instances' array")
    names = sorted(signature.inputs)
    if not all(_is_named(row, signature) for row in instances):
        if len(names) > 1 or any(_is_named(row, signature) for row in instances):
            raise InvalidRequest(
                "instances is a plain list, but expecting list of objects as multiple input tensors required "
                "as per tensorinfo_map"
            )
        return {names[0]: _column(instances, names[0], signature)}
    for number, row in enumerate(instances):
        if sorted(row) != names:
            raise InvalidRequest(
                f"Failed to process element: {number} of 'instances' list. Error: "
                f"JSON object: {jsontensor.quoted(row)} keys must be equal to: {','.join(names)}"
            )
    return {name: _column([row[name] for row in instances], name, signature, f" key: {name}") for name in names}


def _column(rows: list[Any], name: str, signature: Signature, key: str = "") -> Array:
    """Return the rows as one tensor, or name the first one at fault."""
    element = signature.inputs[name].element
    try:
        return jsontensor.build(rows, element)
    except InvalidRequest:
        number = _first_fault(rows, element)
    try:
        first, found = (jsontensor.build(row, element) for row in (rows[0], rows[number]))
        fault = f"Expecting tensor size: {first.size} but got: {found.size}"
        if first.size == found.size:
            fault = f"Expecting tensor shape: {list(first.shape)} but got: {list(found.shape)}"
    except InvalidRequest as error:
        fault = str(error)
    raise InvalidRequest(f"Failed to process element: {number}{key} of 'instances' list. Error: {fault}")


def _first_fault(rows: list[Any], element: ElementType) -> int:
    """Return the number of the first row that is no tensor, or none like the first row's; there is one."""
    start, stop = 0, len(rows)
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            jsontensor.build([rows[0], *rows[start:middle]], element)
            start = middle
        except InvalidRequest:
            stop = middle
    return start


def _columns(inputs: Any, signature: Signature) -> dict[str, Array]:
    if not _is_named(inputs, signature):
        if len(signature.inputs) > 1:
            raise InvalidRequest(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required"
            )
        (name,) = signature.inputs
        return {name: _tensor(inputs, name, signature)}
    for name in signature.inputs:
        if name not in inputs:
            raise InvalidRequest(f"Missing named input: {name} in 'inputs' object.")
    unknown = sorted(set(inputs) - set(signature.inputs))
    if unknown:
        raise InvalidRequest(f"unknown named input: {unknown[0][:256]} in 'inputs' object.")
    return {name: _tensor(inputs[name], name, signature) for name in signature.inputs}


def _is_named(value: Any, signature: Signature) -> bool:
    """Tell an object of inputs from a tensor: {"b64": …} is a string, unless there is an input of that name."""
    return isinstance(value, dict) and (set(value) != {"b64"} or "b64" in signature.inputs)


def _tensor(value: Any, name: str, signature: Signature) -> Array:
    try:
        return jsontensor.build(value, signature.inputs[name].element)
    except InvalidRequest as error:
        raise InvalidRequest(f"input {name!r}: {error}") from None


def _check_rows(outputs: Tensors) -> None:
    """Raise InvalidRequest unless all outputs have equally many rows."""
    rows = next((len(array) for array in outputs.values() if array.ndim), 0)
    for name, array in outputs.items():
        if not array.ndim:
            raise InvalidRequest(f"Tensor name: {name} has no rows; ask by 'inputs' instead of 'instances'")
        if len(array) != rows:
            raise InvalidRequest(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}; "
                "ask by 'inputs' instead of 'instances'"
            )


def _shape_answer(columns: Mapping[str, Any] | Tensors, *, by_row: bool, alone: bool) -> Any:
    if alone:
        return next(iter(columns.values()))
    if not by_row:
        return columns
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


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
