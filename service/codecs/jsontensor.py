"""Tensors in JSON: nested lists, as TensorFlow Serving and the Open Inference Protocol both write them."""

import base64
import binascii
import functools
import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from service.errors import InvalidRequest
from service.types import Array, ElementType, TensorSpec

#: What a JSON value may be, by numpy's kind of element. A bool is an int to Python, never to us.
_JSON_TYPES: Final = {"f": (int, float), "i": (int,), "u": (int,), "b": (bool,), "O": (str,)}
_ELEMENTS: Final = {"f": float, "i": int, "u": int, "b": bool}
_QUOTED: Final = 256


def loads(text: bytes) -> Any:
    """Parse the first JSON value of `text`, with NaN and Infinity; what follows it is ignored.

    Slower than `read`, and able to say what is wrong: the error names the reason and the offset.
    """
    try:
        document = text.decode()
        start = len(document) - len(document.lstrip(" \t\r\n"))
        if start == len(document):
            raise InvalidRequest("JSON Parse error: The document is empty")
        return json.JSONDecoder().raw_decode(document, start)[0]
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"JSON Parse error: not UTF-8 at offset: {error.start}") from None
    except RecursionError:
        raise InvalidRequest("JSON Parse error: nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise InvalidRequest(f"JSON Parse error: {error}") from None


def read(text: bytes | msgspec.Raw, element: ElementType, rank: int) -> Array | None:
    """Return the array of `rank` dimensions that `text` holds, or None if it is not plainly one: then ask `build`."""
    if element.numpy.kind not in _ELEMENTS or not 0 < rank <= 16:
        return None
    try:
        return _as_array(_decoder(element.numpy.kind, rank).decode(text), element)
    except (msgspec.DecodeError, RecursionError, InvalidRequest):
        return None


def build(value: Any, element: ElementType) -> Array:
    """Return the array of a parsed JSON value: nested lists, each level of one length. Raises InvalidRequest."""
    shape: list[int] = []
    level = [value]
    while any(isinstance(item, list) for item in level):
        size = next(len(item) for item in level if isinstance(item, list))
        for item in level:
            if not isinstance(item, list) or len(item) != size:
                found = f"a list of {len(item)}" if isinstance(item, list) else "no list"
                raise InvalidRequest(
                    f"Encountered list at unexpected size: expected {size} elements at dimension {len(shape)}, "
                    f"got {found}: {quoted(item)}"
                )
        shape.append(size)
        level = [element for item in level for element in item]
        if len(shape) > 32:
            raise InvalidRequest("lists are nested more than 32 deep")
    if element.is_string:
        flat = np.empty(len(level), dtype=object)
        flat[:] = [_string(item) for item in level]
    else:
        for item in level:
            if type(item) not in _JSON_TYPES[element.numpy.kind]:
                raise InvalidRequest(
                    f"JSON Value: {quoted(item)} Type: {_type_name(item)} is not of expected type: {_expected(element)}"
                )
        flat = _as_array(level, element)
    return flat.reshape(shape)


def fit(name: str, array: Array, spec: TensorSpec) -> Array:
    """Return `array` if it has the shape that the signature wants for input `name`, else raise InvalidRequest."""
    if not spec.accepts(array.shape):
        raise InvalidRequest(f"input {name!r} has shape {list(array.shape)}, expected {shape_of(spec)}")
    if spec.has_free_batch and not array.shape[0]:
        raise InvalidRequest(f"input {name!r} has no rows: its shape is {list(array.shape)}")
    return array


def shape_of(spec: TensorSpec) -> list[int]:
    """Return the shape with -1 for a free dimension; an unknown rank is []."""
    return [-1 if size is None else size for size in spec.shape or ()]


def dump(document: Any) -> bytes:
    """Return `document` as JSON; its arrays are numeric and hold finite numbers only, or went through `plain`."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def is_plain(array: Array) -> bool:
    """Tell whether `dump` can write the array as it is: no scalar, no strings, no NaN, no infinity."""
    finite = array.dtype.kind in "iub" or (array.dtype.kind == "f" and bool(np.isfinite(array).all()))
    return finite and array.ndim > 0


def plain(array: Array, *, as_base64: bool = False) -> Any:
    """Return nested lists for `json.dumps`, which writes NaN and Infinity; strings as text, or as {"b64": …}."""
    if array.dtype.kind == "f":
        values: Sequence[Any] = [float(str(value)) for value in array.ravel()]  # the shortest text of a float32
    elif array.dtype.kind == "O":
        values = [_text(value, as_base64=as_base64) for value in array.ravel()]
    else:
        return array.tolist()
    flat = np.empty(array.size, dtype=object)
    flat[:] = values
    return flat.reshape(array.shape).tolist()


def quoted(value: Any) -> str:
    """Return the value as JSON, cut at 256 characters."""
    return json.dumps(value, default=str)[:_QUOTED]


@functools.cache
def _decoder(kind: str, rank: int) -> msgspec.json.Decoder[Any]:
    nested: Any = _ELEMENTS[kind]
    for _ in range(rank):
        nested = list[nested]
    return msgspec.json.Decoder(nested)


def _as_array(values: Any, element: ElementType) -> Array:
    try:
        with np.errstate(over="raise"):
            return np.array(values, dtype=element.numpy)
    except (OverflowError, FloatingPointError):
        raise InvalidRequest(f"a number is out of the range of {element.numpy}") from None
    except ValueError as error:
        raise InvalidRequest(f"Encountered list at unexpected size: {error}") from None


def _string(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode(errors="surrogatepass")
    if isinstance(item, dict) and set(item) == {"b64"} and isinstance(item["b64"], str):
        try:
            return base64.b64decode(item["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRequest(f"Unable to base64 decode: {error}") from None
    raise InvalidRequest(f"JSON Value: {quoted(item)} Type: {_type_name(item)} is not of expected type: string")


def _text(value: Any, *, as_base64: bool) -> Any:
    data = value if isinstance(value, bytes) else str(value).encode()
    return {"b64": base64.b64encode(data).decode()} if as_base64 else data.decode(errors="replace")


def _type_name(item: Any) -> str:
    names = {bool: "Boolean", int: "Number", float: "Number", str: "String", dict: "Object", list: "Array"}
    return names.get(type(item), "Null")


def _expected(element: ElementType) -> str:
    return {"float32": "float", "float64": "double"}.get(element.numpy.name, element.numpy.name)
