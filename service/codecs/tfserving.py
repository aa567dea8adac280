"""TensorFlow Serving's REST format: predict.

Source: TensorFlow Serving's api_rest.md, and util/json_tensor.cc for what the document leaves open.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from service.codecs import http, jsontensor, numeric
from service.errors import InvalidRequest
from service.types import DEFAULT_SIGNATURE, Array, Call, ElementType, Reply, Signature, Signatures, Tensors


class _Predict(msgspec.Struct):
    """The top of a request; tensors are read once the signature is known. Unknown keys are ignored."""

    signature_name: str = DEFAULT_SIGNATURE
    instances: msgspec.Raw = msgspec.Raw(b"")
    inputs: msgspec.Raw = msgspec.Raw(b"")


_predict: Final = msgspec.json.Decoder(_Predict)
_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode(body: bytes, _headers: Mapping[str, str], signatures: Signatures) -> Call:
    """Return the call that a predict request makes.

    By row:    {"signature_name": NAME, "instances": [VALUE | {INPUT: VALUE, …}, …]}
    By column: {"signature_name": NAME, "inputs": VALUE | {INPUT: VALUE, …}}

    Raises InvalidRequest. Plain numbers take the short way; whatever is not plain is looked at in detail.
    """
    return _decode_plain(body, signatures) or _decode_any(jsontensor.loads(body), signatures)


def encode(call: Call, reply: Reply) -> tuple[bytes, Mapping[str, str]]:
    """Return `{"predictions": [ROW, …]}` for a call by row, `{"outputs": …}` for one by column.

    A row or column is bare if there is one output, an object if there are several; strings of an output whose name ends
    with `_bytes` are in base 64. Not pretty-printed, as TensorFlow Serving's are. Raises InvalidRequest if the answer
    cannot be given by row.
    """
    if call.by_row:
        _check_rows(reply.outputs)
    if call.by_row and len(reply.outputs) > 1:
        return jsontensor.dump({"predictions": _answer_rows(reply.outputs)}), http.JSON
    columns = {n: jsontensor.written(array, as_base64=n.endswith("_bytes")) for n, array in reply.outputs.items()}
    answer = next(iter(columns.values())) if len(columns) == 1 else columns
    return jsontensor.dump({"predictions" if call.by_row else "outputs": answer}), http.JSON


def _decode_plain(body: bytes, signatures: Signatures) -> Call | None:
    """Read a request whose tensors are plain lists; None if this is not one."""
    try:
        request = _predict.decode(body)
        signature = signatures.get(request.signature_name)
        if signature is None or bool(request.instances) == bool(request.inputs):
            return None
        arrays = _bare(request, signature) or _named(request, signature)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _call(request.signature_name, signature, arrays, by_row=bool(request.instances)) if arrays else None


def _bare(request: _Predict, signature: Signature) -> dict[str, Array] | None:
    """Read the tensor of the only input; {"b64": …} would be ambiguous if it were called so."""
    if len(signature.inputs) > 1 or "b64" in signature.inputs:
        return None
    ((name, spec),) = signature.inputs.items()
    array = jsontensor.read(request.instances or request.inputs, spec.element, len(spec.shape or ()))
    return None if array is None or not array.size else {name: array}


def _named(request: _Predict, signature: Signature) -> dict[str, Array] | None:
    """Read the tensors of objects that name exactly the inputs; those of rows are put together as text."""
    rows = [_object.decode(row) for row in _list.decode(request.instances)] if request.instances else []
    columns = _object.decode(request.inputs) if request.inputs else {}
    if any(given.keys() != signature.inputs.keys() for given in rows or [columns]):
        return None
    arrays = {}
    for name, spec in signature.inputs.items():
        text = b"[%s]" % b",".join([bytes(row[name]) for row in rows]) if rows else columns[name]
        array = jsontensor.read(text, spec.element, len(spec.shape or ()))
        if array is None or not array.size:
            return None
        arrays[name] = array
    return arrays


def _call(name: str, signature: Signature, arrays: dict[str, Array], *, by_row: bool) -> Call:
    for key, array in arrays.items():
        jsontensor.fit(key, array, signature.inputs[key])
    if len(arrays) > 1 and signature.batches and len({len(array) for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{key} {len(array)}" for key, array in sorted(arrays.items()))
        raise InvalidRequest(f"all inputs must have the same number of rows: {sizes}")
    return Call(name, arrays, by_row=by_row)


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
    return _call(name, signature, arrays, by_row="instances" in document)


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


def _answer_rows(outputs: Tensors) -> list[Any]:
    """Return an object for each row; of a large answer, each as text by itself: see numeric.py."""
    columns = {name: jsontensor.rows(array, as_base64=name.endswith("_bytes")) for name, array in outputs.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    large = sum(array.nbytes for array in outputs.values()) > numeric.STEP
    return [orjson.Fragment(jsontensor.dump(row)) for row in rows] if large else rows
