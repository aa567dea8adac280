"""The ways in which clients write requests and read answers, put down without the help of the codecs."""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np

from service.codecs import oip, tfserving
from service.types import ELEMENT_TYPES, Array, ElementType, Signature, TensorSpec

ELEMENTS: Final = {element.numpy.name: element for element in ELEMENT_TYPES}
FLOAT: Final = ELEMENTS["float32"]


def spec(element: ElementType | str, *shape: int | None) -> TensorSpec:
    """Return what a signature says of a tensor of that element type and shape."""
    return TensorSpec(ELEMENTS[element] if isinstance(element, str) else element, shape)


def signatures(
    inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec] | None = None
) -> dict[str, Signature]:
    """Return the signatures of a model that has only the default one."""
    return {"serving_default": Signature(inputs, outputs or inputs)}


def document(array: Array) -> Any:
    """Return nested lists; floats by their shortest text, bytes in base 64."""

    def scalar(value: Any) -> Any:
        return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value

    flat = np.empty(array.size, dtype=object)
    floats = array.dtype.kind == "f"
    flat[:] = [
        float(str(value)) if floats else scalar(value) for value in (array.flat if floats else array.ravel().tolist())
    ]
    return flat.reshape(array.shape).tolist()


def tensor(value: Any, element: ElementType) -> Array:
    """Return the array of nested lists that an answer holds."""

    def scalar(value: Any) -> Any:
        if isinstance(value, list):
            return [scalar(item) for item in value]
        if isinstance(value, dict):
            return base64.b64decode(value["b64"])
        return value.encode() if isinstance(value, str) else value

    return np.array(scalar(value), dtype=element.numpy)


@dataclass(frozen=True)
class Form:
    """One way to write a request and to read the answer to it."""

    name: str
    codec: ModuleType
    write: Callable[[Mapping[str, Array]], Any]
    read: Callable[[Any, Mapping[str, TensorSpec]], Mapping[str, Array]]
    #: True if tensors need rows, as many in each.
    by_row: bool = False
    #: True if it can hold one tensor only.
    bare: bool = False

    def body(self, inputs: Mapping[str, Array]) -> bytes:
        """Return the body of a request."""
        return json.dumps(self.write(inputs)).encode()

    def request(self, element: ElementType, values: Sequence[Sequence[str]]) -> bytes:
        """Return the body of a request for a matrix `x` whose values are given in JSON."""
        marks = np.array(
            [[f"@{row}.{column}" for column in range(len(values[0]))] for row in range(len(values))], object
        )
        body = self.body({"x": marks}).decode().replace('"BYTES"', f'"{element.oip}"')
        return re.sub(r'"@(\d+)\.(\d+)"', lambda mark: values[int(mark[1])][int(mark[2])], body).encode()

    def outputs(self, body: bytes, specs: Mapping[str, TensorSpec]) -> Mapping[str, Array]:
        """Return the tensors of an answer."""
        return self.read(json.loads(body), specs)


def _rows(inputs: Mapping[str, Array]) -> Any:
    return {"instances": document(next(iter(inputs.values())))}


def _named_rows(inputs: Mapping[str, Array]) -> Any:
    names = list(inputs)
    rows = zip(*(document(array) for array in inputs.values()), strict=True)
    return {"instances": [dict(zip(names, row, strict=True)) for row in rows]}


def _column(inputs: Mapping[str, Array]) -> Any:
    return {"inputs": document(next(iter(inputs.values())))}


def _named_columns(inputs: Mapping[str, Array]) -> Any:
    return {"inputs": {name: document(array) for name, array in inputs.items()}}


def _oip(inputs: Mapping[str, Array], *, flat: bool) -> Any:
    datatypes = {element.numpy: element.oip for element in ELEMENT_TYPES}
    return {
        "inputs": [
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": datatypes[array.dtype],
                "data": document(array.ravel() if flat else array),
            }
            for name, array in inputs.items()
        ]
    }


def _read_rows(answer: Any, specs: Mapping[str, TensorSpec]) -> Mapping[str, Array]:
    if len(specs) == 1:
        return {name: tensor(answer["predictions"], spec.element) for name, spec in specs.items()}
    return {name: tensor([row[name] for row in answer["predictions"]], spec.element) for name, spec in specs.items()}


def _read_columns(answer: Any, specs: Mapping[str, TensorSpec]) -> Mapping[str, Array]:
    columns = dict.fromkeys(specs, answer["outputs"]) if len(specs) == 1 else answer["outputs"]
    return {name: tensor(columns[name], spec.element) for name, spec in specs.items()}


def _read_oip(answer: Any, specs: Mapping[str, TensorSpec]) -> Mapping[str, Array]:
    by_name = {output["name"]: output for output in answer["outputs"]}
    assert {name: output["datatype"] for name, output in by_name.items()} == {
        n: s.element.oip for n, s in specs.items()
    }
    return {
        name: tensor(output["data"], specs[name].element).reshape(output["shape"]) for name, output in by_name.items()
    }


FORMS: Final = [
    Form("tfserving rows", tfserving, _rows, _read_rows, by_row=True, bare=True),
    Form("tfserving named rows", tfserving, _named_rows, _read_rows, by_row=True),
    Form("tfserving column", tfserving, _column, _read_columns, bare=True),
    Form("tfserving named columns", tfserving, _named_columns, _read_columns),
    Form("oip flat", oip, lambda inputs: _oip(inputs, flat=True), _read_oip),
    Form("oip nested", oip, lambda inputs: _oip(inputs, flat=False), _read_oip),
]


def same(found: Array, expected: Array) -> bool:
    """Tell whether two arrays are the same in type, shape and every bit, whichever NaN it is."""
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return False
    if found.dtype.kind != "f":
        return bool((found == expected).all())
    signs = (np.signbit(found) == np.signbit(expected)) | np.isnan(expected)
    return np.array_equal(found, expected, equal_nan=True) and bool(signs.all())


def random_array(random: np.random.Generator, element: ElementType, shape: tuple[int, ...]) -> Array:
    """Return an array of any values that the element type has, NaN and infinities among them."""
    if element.is_string:
        flat = np.empty(int(np.prod(shape)), dtype=object)
        flat[:] = [random.bytes(int(random.integers(0, 9))) for _ in flat]
        return flat.reshape(shape)
    data = random.bytes(int(np.prod(shape)) * element.numpy.itemsize)
    if element.numpy.kind == "b":
        return (np.frombuffer(data, dtype=np.uint8) % 2).astype(bool).reshape(shape)
    return np.frombuffer(data, dtype=element.numpy).reshape(shape)
