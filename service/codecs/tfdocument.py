"""TensorFlow Serving's predict requests looked at in detail: whatever is legal is taken, and what is not is named.

Source: the errors' texts are those of TensorFlow Serving's util/json_tensor.cc where it has them.
"""

from typing import Any

from service.codecs import jsontensor
from service.errors import InvalidRequest
from service.types import DEFAULT_SIGNATURE, Array, Call, ElementType, Signature, Signatures


def understand(document: Any, signatures: Signatures) -> Call:
    """Return the call that a parsed request makes; tfserving.py draws it. Raises InvalidRequest."""
    if not isinstance(document, dict):
        raise InvalidRequest("Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidRequest("'signature_name' key must be a string value.")
    signature = signature_of(name, signatures)
    by_row = is_by_row(instances="instances" in document, inputs="inputs" in document)
    arrays = _rows(document["instances"], signature) if by_row else _columns(document["inputs"], signature)
    return call_of(name, signature, arrays, by_row=by_row)


def signature_of(name: str, signatures: Signatures) -> Signature:
    """Return the signature of that name, of none the default one. Raises InvalidRequest."""
    name = name or DEFAULT_SIGNATURE
    if name not in signatures:
        raise InvalidRequest(f'Serving signature name: "{name[:256]}" not found in signature def')
    return signatures[name]


def is_by_row(*, instances: bool, inputs: bool) -> bool:
    """Tell which of the two keys there is. Raises InvalidRequest for both and for none."""
    if instances and inputs:
        raise InvalidRequest("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if not (instances or inputs):
        raise InvalidRequest("Missing 'inputs' or 'instances' key")
    return instances


def call_of(name: str, signature: Signature, arrays: dict[str, Array], *, by_row: bool) -> Call:
    """Return the call if the tensors fit the signature and each other. Raises InvalidRequest."""
    for key, array in arrays.items():
        jsontensor.fit(key, array, signature.inputs[key])
    if len(arrays) > 1 and signature.batches and len({len(array) for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{key} {len(array)}" for key, array in sorted(arrays.items()))
        raise InvalidRequest(f"all inputs must have the same number of rows: {sizes}")
    return Call(name or DEFAULT_SIGNATURE, arrays, by_row=by_row)


def _rows(instances: Any, signature: Signature) -> dict[str, Array]:
    if not isinstance(instances, list):
        raise InvalidRequest("Expecting 'instances' to be an list/array")
    if not instances:
        raise InvalidRequest("No values in 'instances' array")
    names = sorted(signature.inputs)
    if not any(_is_named(row, signature) for row in instances):
        if len(names) > 1:
            raise InvalidRequest(
                "instances is a plain list, but expecting list of objects as multiple input tensors required "
                "as per tensorinfo_map"
            )
        return {names[0]: _column(instances, names[0], signature)}
    for number, row in enumerate(instances):
        if not isinstance(row, dict):
            fault = str(jsontensor.mistyped(row, "object"))
        elif sorted(row) != names:
            fault = f"JSON object: {jsontensor.quoted(row)} keys must be equal to: {','.join(names)}"
        else:
            continue
        raise InvalidRequest(f"Failed to process element: {number} of 'instances' list. Error: {fault}")
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
    return {name: _tensor(inputs[name], name, signature) for name in signature.inputs}


def _is_named(value: Any, signature: Signature) -> bool:
    """Tell an object of inputs from a tensor: {"b64": …} is a string, unless there is an input of that name."""
    return isinstance(value, dict) and (set(value) != {"b64"} or "b64" in signature.inputs)


def _tensor(value: Any, name: str, signature: Signature) -> Array:
    try:
        return jsontensor.build(value, signature.inputs[name].element)
    except InvalidRequest as error:
        raise InvalidRequest(f"input {name!r}: {error}") from None
