"""TensorFlow's TensorProto, read into an array and written from one.

Source: TensorFlow's tensor.proto, types.proto and tensor_shape.proto; what it means to leave values out, its tensor.cc.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from service.codecs import binary, jsontensor
from service.codecs.grpc import wire
from service.codecs.grpc.wire import Fields
from service.errors import InvalidRequest
from service.types import ELEMENT_TYPES, Array, ElementType, TensorSpec


class _Form(NamedTuple):
    """How one type of elements stands in a TensorProto: the number of the type, and of the field of its values."""

    number: int
    field: int


_FORMS: Final = {
    "DT_FLOAT": _Form(1, 5),
    "DT_DOUBLE": _Form(2, 6),
    "DT_INT32": _Form(3, 7),
    "DT_UINT8": _Form(4, 7),
    "DT_INT16": _Form(5, 7),
    "DT_INT8": _Form(6, 7),
    "DT_STRING": _Form(7, 8),
    "DT_INT64": _Form(9, 10),
    "DT_BOOL": _Form(10, 11),
    "DT_UINT16": _Form(17, 7),
    "DT_HALF": _Form(19, 13),
    "DT_UINT32": _Form(22, 16),
    "DT_UINT64": _Form(23, 17),
}
#: The types by numpy's.
BY_KIND: Final = {element.numpy: element for element in ELEMENT_TYPES}
_BY_NUMBER: Final = {_FORMS[element.tensorflow].number: element for element in ELEMENT_TYPES}
_TYPE, _SHAPE, _CONTENT = 1, 2, 4
_DIM, _SIZE, _UNKNOWN_RANK = 2, 1, 3
#: So many values may be left out, that are copies of the last one or zeros: they cost the caller nothing.
_LEFT_OUT: Final = 1 << 18


def read(proto: Fields, element: ElementType) -> Array:
    """Return the tensor; numbers may stay where they are, read-only and unaligned. Raises InvalidRequest."""
    number = wire.last(proto, _TYPE, 0)
    if number != _FORMS[element.tensorflow].number:
        given = _BY_NUMBER[number].tensorflow if number in _BY_NUMBER else f"of number {number}"
        raise InvalidRequest(f"dtype is {given}, expected {element.tensorflow}")
    shape = _shape(wire.message(proto, _SHAPE))
    content = wire.last(proto, _CONTENT, b"")
    if content:
        return _of_content(content, element, shape)
    return _filled(_values(proto, element), math.prod(shape), element).reshape(shape)


def write(array: Array) -> Mapping[int, Any]:
    """Return the tensor as the fields of a message, its values one by one as TensorFlow Serving answers them."""
    element = BY_KIND[array.dtype]
    form, flat = _FORMS[element.tensorflow], np.ascontiguousarray(array).reshape(-1)
    head = {_TYPE: form.number, _SHAPE: shape_of(array.shape)}
    if element.is_string:
        return head | {form.field: strings(array)}
    if element.tensorflow in ("DT_FLOAT", "DT_DOUBLE"):
        return head | {form.field: flat.view(np.uint8).data}
    return head | {form.field: wire.packed(flat.view(np.uint16) if element.tensorflow == "DT_HALF" else flat)}


def strings(array: Array) -> list[bytes]:
    """Return a tensor's strings, row by row."""
    return [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]


def of_strings(values: Sequence[bytes | memoryview]) -> Array:
    """Return strings as elements, in a row."""
    return np.fromiter((bytes(value) for value in values), object, len(values))


def of_integers(steps: Iterable[Array], element: ElementType) -> Array:
    """Return integers out of a message as elements, in a row. Raises InvalidRequest if one is too large."""
    return np.concatenate([np.empty(0, element.numpy), *(_of_integers(numbers, element.numpy) for numbers in steps)])


def shape_of(sizes: tuple[int | None, ...] | None) -> Mapping[int, Any]:
    """Return a TensorShapeProto as the fields of a message; -1 stands for a size that is free."""
    if sizes is None:
        return {_UNKNOWN_RANK: 1}
    return {_DIM: [{_SIZE: -1 if size is None else size} for size in sizes]}


def info_of(spec: TensorSpec) -> Mapping[int, Any]:
    """Return a TensorInfo (meta_graph.proto) as the fields of a message."""
    return {1: spec.graph_name, 2: _FORMS[spec.element.tensorflow].number, 3: shape_of(spec.shape)}


def _shape(proto: Fields) -> list[int]:
    if wire.last(proto, _UNKNOWN_RANK, 0):
        raise InvalidRequest("the shape has an unknown rank")
    if len(proto[_DIM]) > jsontensor.MAX_RANK:
        raise InvalidRequest(f"more than {jsontensor.MAX_RANK} dimensions are in the shape")
    shape = [wire.signed(wire.last(dim, _SIZE, 0)) for dim in wire.messages(proto, _DIM)]
    jsontensor.check_shape(shape)
    return shape


def _of_content(content: bytes | memoryview, element: ElementType, shape: list[int]) -> Array:
    """Return the tensor whose bytes lie in a row."""
    if element.is_string:
        raise InvalidRequest("strings are to be in string_val, not in tensor_content")
    wanted = math.prod(shape) * element.numpy.itemsize
    if len(content) != wanted:
        raise InvalidRequest(f"tensor_content has {len(content)} bytes, but the shape {shape} makes {wanted}")
    return binary.read(memoryview(content), element, shape)


def _values(proto: Fields, element: ElementType) -> Array:
    """Return the values that there are, in a row."""
    field = _FORMS[element.tensorflow].field
    if element.is_string:
        return of_strings(wire.blocks(proto, field))
    if element.tensorflow in ("DT_FLOAT", "DT_DOUBLE"):
        return wire.floats(proto, field, element.numpy)
    return of_integers(wire.integers(proto, field), element)


def _of_integers(numbers: Array, kind: np.dtype[Any]) -> Array:
    if kind.kind == "b":
        return np.asarray(numbers != 0)
    if kind.kind == "f":  # halves are told by their bits
        return _of_integers(numbers, np.dtype(np.uint16)).view(kind)
    wide = numbers.astype(np.int64) if kind.kind == "i" else numbers
    bounds = np.iinfo(kind)
    if wide.size and (wide.min() < bounds.min or wide.max() > bounds.max):
        raise InvalidRequest(f"a value is no {kind}")
    return wide.astype(kind)


def _filled(values: Array, count: int, element: ElementType) -> Array:
    """Return so many values: what is left out is like the last one, or zero."""
    missing = count - values.size
    if missing < 0:
        raise InvalidRequest(f"{values.size} values are more than the shape's {count}")
    if not missing:
        return values
    if missing > _LEFT_OUT:
        raise InvalidRequest(f"{values.size} values are given for {count}; at most {_LEFT_OUT} may be left out")
    nothing: Any = b"" if element.is_string else 0
    rest = np.empty(missing, element.numpy)
    rest[:] = values[-1] if values.size else nothing
    return np.concatenate([values, rest])
