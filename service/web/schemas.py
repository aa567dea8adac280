"""JSON Schemas of inference requests and their answers, by a model's signatures.

The dialect is JSON Schema 2020-12, which OpenAPI 3.1 uses. Without signatures, a schema says what all models share.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from service.types import DEFAULT_SIGNATURE, ElementType, Signatures, TensorSpec

Schema = dict[str, Any]

STRING: Final[Schema] = {"type": "string"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
_NATURAL: Final[Schema] = {"type": "integer", "minimum": 0}
#: To the Open Inference Protocol, a key that is null is as good as none.
_ABSENT: Final[Schema] = {"type": "null"}
_BASE64: Final = {"type": "string", "contentEncoding": "base64"}
#: Examples of more elements would be longer than what they explain.
_LARGEST_EXAMPLE: Final = 1000


def record(required: Mapping[str, Schema], **optional: Schema) -> Schema:
    """Return the schema of an object."""
    return {"type": "object", "properties": {**required, **optional}, "required": list(required)}


def exactly(required: Mapping[str, Schema]) -> Schema:
    """Return the schema of an object that has these keys and no other."""
    return record(required) | {"additionalProperties": False}


def listing(items: Schema, size: int | None = None, *, least: int = 0) -> Schema:
    """Return the schema of an array of `size` items, or of any number from `least` on."""
    bounds = {"minItems": least} if size is None else {"minItems": size, "maxItems": size}
    return {"type": "array", "items": items} | {name: bound for name, bound in bounds.items() if bound or size == 0}


def tensor(spec: TensorSpec, *, row: bool = False) -> Schema:
    """Return the schema of a tensor as nested arrays, or of one row of it; a batch has at least one."""
    if spec.shape is None:
        return {}
    schema = _element(spec.element)
    for axis in reversed(range(int(row), len(spec.shape))):
        schema = listing(schema, spec.shape[axis], least=1 if axis == 0 else 0)
    return schema


def predict(signatures: Signatures) -> Schema:
    """Return the schema of TensorFlow Serving's predict requests."""
    if not signatures:
        return record({}, signature_name=STRING, instances={"type": "array"}, inputs={})
    forms = []
    for name, signature in signatures.items():
        (chosen, optional), specs = _chosen(name), signature.inputs
        if _has_rows(specs):
            forms.append(record(chosen | {"instances": _any([*_bare(specs), _named_rows(specs)])}, **optional))
        forms.append(record(chosen | {"inputs": _any([*_bare(specs), _named(specs)])}, **optional))
    return _any(forms)


def predictions(signatures: Signatures) -> Schema:
    """Return the schema of the answers to `predict`."""
    outputs = [signature.outputs for signature in signatures.values()]
    rows = [_any(_bare(specs) or [_named_rows(specs)]) for specs in outputs if _has_rows(specs)]
    columns = [_any(_bare(specs) or [_named(specs)]) for specs in outputs]
    return _any([record({"predictions": _any(rows)}), record({"outputs": _any(columns)})])


def infer(signatures: Signatures) -> Schema:
    """Return the schema of the Open Inference Protocol's infer requests in JSON."""
    if not signatures:
        return _request(listing(_oip_tensor(), least=1), STRING, record({}, **_PARAMETERS))
    forms = []
    for name, signature in signatures.items():
        chosen, optional = _chosen(name)
        if len(signatures) == 1 or optional:
            chosen, optional = {}, {"signature_name": {"enum": [name, "", None]}}
        inputs = [_oip_tensor(key, spec) for key, spec in signature.inputs.items()]
        parameters = record(chosen, **optional, **_PARAMETERS)
        names = {"enum": list(signature.outputs)}
        forms.append(_request(listing(_any(inputs), len(inputs)), names, parameters, chosen=bool(chosen)))
    return _any(forms)


def inferred(signatures: Signatures) -> Schema:
    """Return the schema of the answers to `infer`."""
    specs = [item for signature in signatures.values() for item in signature.outputs.items()]
    outputs = [_oip_tensor(name, spec, flat=True) for name, spec in specs] or [_oip_tensor()]
    return record({"model_name": STRING, "model_version": STRING, "outputs": listing(_any(outputs))}, id=STRING)


def examples(signatures: Signatures) -> tuple[Any, Any]:
    """Return a request of `predict` and one of `infer`, all zeros; None if there is no small one."""
    name = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in signatures else next(iter(signatures), "")
    inputs = signatures[name].inputs if name else {}
    shapes = {key: [size or 1 for size in spec.shape or ()] for key, spec in inputs.items()}
    if not name or sum(map(math.prod, shapes.values())) > _LARGEST_EXAMPLE:
        return None, None
    zeros = {key: _zeros(spec.element, shapes[key]) for key, spec in inputs.items()}
    tensors = [
        {"name": key, "shape": shapes[key], "datatype": spec.element.oip, "data": _zeros(spec.element, shapes[key], -1)}
        for key, spec in inputs.items()
    ]
    chosen = {} if name == DEFAULT_SIGNATURE else {"signature_name": name}
    body = {"instances": next(iter(zeros.values()))} if len(zeros) == 1 and _has_rows(inputs) else {"inputs": zeros}
    return chosen | body, {"inputs": tensors} | ({"parameters": chosen} if chosen else {})


_PARAMETERS: Final[dict[str, Schema]] = {
    "timeout": _NATURAL | {"description": "microseconds"},
    "priority": _NATURAL | {"description": "1 is high"},
    "binary_data_output": BOOLEAN,
}


def _element(element: ElementType) -> Schema:
    """Return the schema of one element. Floats are bounded by what would be rounded to an infinity."""
    if element.is_string:
        return {"anyOf": [STRING, exactly({"b64": _BASE64})]}
    if element.numpy.kind == "b":
        return BOOLEAN
    if element.numpy.kind == "f":
        number = {"type": "number", "format": element.numpy.name}
        largest = np.finfo(str(element.numpy)).max
        if element.numpy.itemsize == 8:
            return number | {"minimum": -float(largest), "maximum": float(largest)}
        half_a_step = (float(largest) - float(np.nextafter(largest, largest.dtype.type(0)))) / 2
        bound = float(largest) + half_a_step
        return number | {"exclusiveMinimum": -bound, "exclusiveMaximum": bound}
    bounds = np.iinfo(str(element.numpy))
    return {"type": "integer", "format": element.numpy.name, "minimum": bounds.min, "maximum": bounds.max}


def _chosen(name: str) -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Return how a request names its signature: what it must have, and what it may; no name is the default one."""
    if name == DEFAULT_SIGNATURE:
        return {}, {"signature_name": {"enum": [name, ""]}}
    return {"signature_name": {"const": name}}, {}


def _has_rows(specs: Mapping[str, TensorSpec]) -> bool:
    return all(spec.shape != () for spec in specs.values())


def _bare(specs: Mapping[str, TensorSpec]) -> list[Schema]:
    """Return the schema of the only tensor, which needs no name; of several, none."""
    return [tensor(spec) for spec in specs.values()] if len(specs) == 1 else []


def _named(specs: Mapping[str, TensorSpec]) -> Schema:
    return record({name: tensor(spec) for name, spec in specs.items()})


def _named_rows(specs: Mapping[str, TensorSpec]) -> Schema:
    size = next((spec.shape[0] for spec in specs.values() if spec.shape), None)
    return listing(exactly({name: tensor(spec, row=True) for name, spec in specs.items()}), size, least=1)


def _request(inputs: Schema, output: Schema, parameters: Schema, *, chosen: bool = False) -> Schema:
    wanted = listing(
        record({"name": output}, parameters=_any([record({}, binary_data=_any([BOOLEAN, _ABSENT])), _ABSENT]))
    )
    required = {"inputs": inputs} | ({"parameters": parameters} if chosen else {})
    optional = {"id": STRING, "outputs": wanted, "parameters": parameters}
    return record(required, **{key: _any([one, _ABSENT]) for key, one in optional.items() if key not in required})


def _oip_tensor(name: str = "", spec: TensorSpec | None = None, *, flat: bool = False) -> Schema:
    """Return the schema of one tensor; its data may come nested, or flat, row by row, as they always go."""
    if spec is None:
        return record({"name": STRING, "shape": listing(_NATURAL), "datatype": STRING, "data": {}})
    shape = listing(_NATURAL, None if spec.shape is None else len(spec.shape))
    data = listing(_element(spec.element))
    if not flat:
        data = _any([data, tensor(spec)])
    return record({"name": {"const": name}, "shape": shape, "datatype": {"const": spec.element.oip}, "data": data})


def _any(schemas: Iterable[Schema]) -> Schema:
    found = list(schemas)
    return found[0] if len(found) == 1 else {"anyOf": found} if found else {}


def _zeros(element: ElementType, shape: list[int], *reshaped: int) -> Any:
    filler = "" if element.is_string else 0
    return np.full(shape, filler, element.numpy).reshape(reshaped or shape).tolist()
