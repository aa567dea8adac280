"""Tensors in JSON: nested lists, as TensorFlow Serving and the Open Inference Protocol both write them."""

import base64
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from service.codecs import numeric, strings
from service.errors import InvalidRequest
from service.types import Array, ElementType, TensorSpec

#: TensorFlow takes at most 254 dimensions, numpy 64; models have far fewer.
MAX_RANK: Final = 32

#: Texts of more bytes are read quickly or not at all.
DETAILED: Final = 1 << 18

#: What a JSON value may be, by numpy's kind of element. A bool is an int to Python, never to us.
_JSON_TYPES: Final[dict[str, set[type]]] = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}
#: [1000000000000, 0] costs the caller nothing, but the model that adds up its rows: such sizes are bounded together.
_EMPTY: Final = 1 << 16
_QUOTED: Final = 256
#: What TensorFlow Serving calls the types for which numpy has other names.
_C_NAMES: Final = {"float16": "half", "float32": "float", "float64": "double"}
#: So many strings are written in one call.
_STRINGS: Final = 1 << 13
#: An escape that may be half of a pair: only then is it worth looking whether the other half is there.
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


#: A way to read a tensor, `read` or `read_marked`.
Read = Callable[[bytes | msgspec.Raw, ElementType, int | None], Array | None]


def loads(text: bytes) -> Any:
    """Parse the first JSON value of `text`, with NaN and Infinity; what follows it is ignored.

    Slower than `read`, and able to say what is wrong: the error names the reason and, where it is known, the byte. No
    more than DETAILED bytes are looked at in this way: Python would hold its lock, and take seconds.
    """
    if len(text) > DETAILED:
        raise _undetailed(text)
    try:
        document = text.decode()
        start = len(document) - len(document.lstrip(" \t\r\n"))
        if start == len(document):
            raise InvalidRequest("JSON Parse error: The document is empty")
        value = json.JSONDecoder(parse_float=_finite).raw_decode(document, start)[0]
        if _SURROGATE.search(document):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        offset = len(error.doc[: error.pos].encode())
        raise InvalidRequest(f"JSON Parse error: {error.msg} at offset: {offset}") from None
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"JSON Parse error: not UTF-8 at offset: {error.start}") from None
    except UnicodeEncodeError:
        raise InvalidRequest("JSON Parse error: The surrogate pair in string is invalid.") from None
    except RecursionError:
        raise InvalidRequest("JSON Parse error: nested too deeply") from None
    except ValueError:  # Python converts no more than 4300 digits
        raise InvalidRequest("JSON Parse error: a number has too many digits") from None
    return value


def read(text: bytes | msgspec.Raw, element: ElementType, rank: int | None) -> Array | None:
    """Return the array of `rank` dimensions that `text` holds, or None if it is not plainly one: then ask `build`.

    A `rank` of None is whichever it has.
    """
    if not element.is_string:
        return numeric.read(bytes(text), element, rank)
    if len(bytes(text)) > numeric.STEP:
        return strings.read(bytes(text))
    try:
        return build(msgspec.json.decode(text), element)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidRequest):
        return None


def read_marked(text: bytes | msgspec.Raw, element: ElementType, rank: int | None) -> Array | None:
    """Read what is part of a document that is marked; see numeric.py."""
    return (read if element.is_string else numeric.read_marked)(text, element, rank)


def build(value: Any, element: ElementType) -> Array:
    """Return the array of a parsed JSON value: nested lists, each level of one length. Raises InvalidRequest."""
    shape: list[int] = []
    level = [value]
    while list in (kinds := set(map(type, level))):
        size = next(len(item) for item in level if type(item) is list)
        if kinds != {list} or any(len(item) != size for item in level):
            raise _ragged(level, size, len(shape))
        if len(shape) == MAX_RANK:
            raise InvalidRequest(f"lists are nested more than {MAX_RANK} deep")
        shape.append(size)
        level = list(itertools.chain.from_iterable(level))
    if element.is_string:
        flat = np.empty(len(level), dtype=object)
        flat[:] = [_string(item) for item in level]
    elif kinds <= _JSON_TYPES[element.numpy.kind]:
        flat = numeric.as_array(level, element)
    else:
        item = next(item for item in level if type(item) not in _JSON_TYPES[element.numpy.kind])
        raise mistyped(item, _C_NAMES.get(element.numpy.name, element.numpy.name))
    return flat.reshape(shape)


def fit(name: str, array: Array, spec: TensorSpec) -> Array:
    """Return `array` if it has the shape that the signature wants for input `name`, else raise InvalidRequest."""
    if not spec.accepts(array.shape):
        raise InvalidRequest(f"input {name!r} has shape {list(array.shape)}, expected {shape_of(spec)}")
    if not array.size and spec.has_free_batch and not array.shape[0]:
        raise InvalidRequest(f"input {name!r} has no rows: its shape is {list(array.shape)}")
    return array


def check_shape(shape: list[int]) -> None:
    """Refuse a shape that no data can have, before anybody computes with it."""
    if len(shape) > MAX_RANK:
        fault = f"more than {MAX_RANK} dimensions are in the shape"
    elif min(shape, default=0) < 0:
        fault = "a size is negative in the shape"
    elif math.prod(shape) > 2**63 or (0 in shape and math.prod(filter(None, shape)) > _EMPTY):
        fault = "too large is the shape"
    else:
        return
    raise InvalidRequest(f"{fault} {quoted(shape)}")


def shape_of(spec: TensorSpec) -> list[int]:
    """Return the shape with -1 for a free dimension; an unknown rank is []."""
    return [-1 if size is None else size for size in spec.shape or ()]


def written(array: Array, *, as_base64: bool = False) -> Any:
    """Return what `dump` writes as the array or scalar: numbers, or strings as text or as {"b64": …}."""
    if array.dtype.kind != "O":
        return orjson.Fragment(numeric.write(array))
    if array.size <= _STRINGS:
        return _lists(array, as_base64=as_base64)
    rows = _STRINGS * len(array) // array.size
    if rows:
        lists = (_lists(array[start : start + rows], as_base64=as_base64) for start in range(0, len(array), rows))
        parts = [dump(part)[1:-1] for part in lists]
    else:
        parts = [dump(written(row, as_base64=as_base64)) for row in array]
    return orjson.Fragment(b"[%s]" % b",".join(parts))


def rows(array: Array, *, as_base64: bool = False) -> Iterable[Any]:
    """Return what `dump` writes as each of the array's rows."""
    if array.dtype.kind == "O":
        lists: list[Any] = _lists(array, as_base64=as_base64)
        return lists
    # orjson may write it at once, unless it is large, or has NaN or infinities, which it writes as null.
    plain = array.nbytes <= numeric.STEP and (array.dtype.kind != "f" or bool(np.isfinite(array).all()))
    return array if plain else map(written, array)


def dump(document: Any) -> bytes:
    """Return `document` as JSON; its arrays must have been `written`, or their `rows`."""
    return orjson.dumps(document, default=np.ascontiguousarray, option=orjson.OPT_SERIALIZE_NUMPY)


def quoted(value: Any) -> str:
    """Return the beginning of the value as JSON, at most 256 characters; no more of it is looked at."""
    encoder = json.JSONEncoder(check_circular=False)  # which would keep all of the value until garbage is collected
    return "".join(itertools.islice(encoder.iterencode(value), _QUOTED))[:_QUOTED]


def mistyped(item: Any, expected: str) -> InvalidRequest:
    """Return the error that says of what type a JSON value is, and of what it should be."""
    names = {bool: "Boolean", int: "Number", float: "Number", str: "String", dict: "Object", list: "Array"}
    name = names.get(type(item), "Null")
    return InvalidRequest(f"JSON Value: {quoted(item)} Type: {name} is not of expected type: {expected}")


def _undetailed(text: bytes) -> InvalidRequest:
    """Return what the quick parser has to say."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except RecursionError:
        return InvalidRequest("JSON Parse error: nested too deeply")
    except msgspec.DecodeError as error:
        reason, _, place = str(error).removeprefix("JSON is malformed: ").removesuffix(")").partition(" (byte ")
        return InvalidRequest(f"JSON Parse error: {reason} at offset: {place or len(text)}")
    return InvalidRequest(
        f"no tensors in plain lists as the signature has them; what is wrong is looked for in up to {DETAILED} bytes"
    )


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise InvalidRequest("JSON Parse error: Number too big to be stored in double.")
    return number


def _string(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, dict) and set(item) == {"b64"} and isinstance(item["b64"], str):
        return strings.unbase64(item["b64"])
    raise mistyped(item, "string")


def _lists(array: Array, *, as_base64: bool) -> Any:
    flat = np.empty(array.size, dtype=object)
    flat[:] = [_text(value, as_base64=as_base64) for value in array.ravel()]
    return flat.reshape(array.shape).tolist()


def _text(value: Any, *, as_base64: bool) -> Any:
    data = value if isinstance(value, bytes) else str(value).encode()
    return {"b64": base64.b64encode(data).decode()} if as_base64 else data.decode(errors="replace")


def _ragged(level: list[Any], size: int, dimension: int) -> InvalidRequest:
    item = next(item for item in level if type(item) is not list or len(item) != size)
    found = f"a list of {len(item)}" if type(item) is list else "no list"
    return InvalidRequest(
        f"Encountered list at unexpected size: expected {size} elements at dimension {dimension}, "
        f"got {found}: {quoted(item)}"
    )
