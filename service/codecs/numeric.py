"""Lists of numbers between JSON and numpy: the short way for small ones, in small steps for large ones.

No single call works on more than a few hundred kilobytes, so that the interpreter's lock is free again after some
milliseconds: a thread that reads megabytes leaves the event loop its turns.
"""

import functools
import re
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from service.errors import InvalidRequest
from service.types import Array, ElementType

#: The bytes of a step: some 2 ms of work.
STEP: Final = 1 << 17

_ELEMENTS: Final[dict[str, type]] = {"f": float, "i": int, "u": int, "b": bool}
#: In texts of this many bytes, lists shorter than so many on average cost more than reading all the text twice.
_MIDDLE: Final = 1 << 11
_SHORT: Final = 24
_UNBRACKETED: Final = bytes.maketrans(b"[]", b"  ")
#: All that numbers, `true` and `false` are written with, and blanks.
_VALUES: Final = b"0123456789+-.eEtrufals \t\r\n"
_OPENING: Final = re.compile(rb"[\[ \t\r\n]*")
#: An opening bracket that nothing follows, a closing bracket that something follows.
_MISPLACED: Final = (re.compile(rb"\[[ \t\r\n]*(?:[\],]|\Z)"), re.compile(rb"\][ \t\r\n]*[^\], \t\r\n]"))
#: What orjson writes as null, by what Python calls it.
_WORDS: Final = {"nan": b"NaN", "inf": b"Infinity", "-inf": b"-Infinity"}


def read(text: bytes, element: ElementType, rank: int) -> Array | None:
    """Return the array of `rank` dimensions that `text` holds, None if it is not plainly one: NaN is not plain."""
    if element.numpy.kind not in _ELEMENTS or not 0 < rank <= 16:
        return None
    flat = len(text) > STEP or text.count(b"[") * _SHORT > len(text) > _MIDDLE
    try:
        return _read_flat(text, element, rank) if flat else _read_nested(text, element, rank)
    except (msgspec.DecodeError, RecursionError, ValueError, InvalidRequest):
        return None


def write(array: Array) -> bytes:
    """Return the array, or the scalar, as JSON with NaN, Infinity and -Infinity; floats by their shortest text."""
    if array.nbytes <= STEP:
        return _write(array)
    rows = STEP // array[0].nbytes
    if rows:
        parts = [_write(array[start : start + rows])[1:-1] for start in range(0, len(array), rows)]
    else:
        parts = [write(row) for row in array]
    return b"[%s]" % b",".join(parts)


@np.errstate(over="raise")
def as_array(values: Any, element: ElementType) -> Array:
    """Return numpy's array of nested lists. Raises InvalidRequest for a number out of range, ValueError if ragged."""
    try:
        return np.array(values, dtype=element.numpy)
    except (OverflowError, FloatingPointError):
        raise InvalidRequest(f"a number is out of the range of {element.numpy}") from None


def _read_nested(text: bytes, element: ElementType, rank: int) -> Array:
    return as_array(_decoder(element.numpy.kind, rank).decode(text), element)


def _read_flat(text: bytes, element: ElementType, rank: int) -> Array | None:
    """Read the numbers without their brackets, and the brackets without the numbers.

    The numbers must be one list to the parser, the brackets and commas must be those of one shape, and no number may
    stand before an opening bracket or after a closing one: such text is nested lists of that shape, and no other is.
    """
    opening = _OPENING.match(text)
    if opening is None or opening[0].count(b"[") != rank:
        return None
    decoder = _decoder(element.numpy.kind, 1)
    numbers, structure = [], []
    start = 0
    while start <= len(text):
        end = text.find(b",", start + STEP)
        piece = text[start : end if end >= 0 else len(text)]
        start += len(piece) + 1
        if any(pattern.search(piece) for pattern in _MISPLACED):
            return None
        numbers.append(as_array(decoder.decode(b"[%s]" % piece.translate(_UNBRACKETED)), element))
        structure.append(piece.translate(None, _VALUES))
    shape = _shape(b",".join(structure), rank)
    return None if shape is None else np.concatenate(numbers).reshape(shape)


def _shape(structure: bytes, rank: int) -> list[int] | None:
    """Return the shape of lists with these brackets and commas, such as [2, 3] of `[[,,],[,,]]`."""
    shape: list[int] = []
    item = b""
    for depth in reversed(range(rank)):
        end = structure.find(b"]" * (rank - depth)) + rank - depth  # of the first list that lies so deep
        size = (end - depth - 1) // (len(item) + 1)
        item = b"[" + (item + b",") * (size - 1) + item + b"]"
        shape.insert(0, size)
    return shape if item == structure else None


@functools.cache
def _decoder(kind: str, rank: int) -> msgspec.json.Decoder[Any]:
    nested: Any = _ELEMENTS[kind]
    for _ in range(rank):
        nested = list[nested]
    return msgspec.json.Decoder(nested)


def _write(array: Array) -> bytes:
    text = orjson.dumps(
        array if array.ndim else array[()], default=np.ascontiguousarray, option=orjson.OPT_SERIALIZE_NUMPY
    )
    if array.dtype.kind != "f" or (finite := np.isfinite(array)).all():
        return text
    words = (_WORDS[str(number)] for number in array[~finite].tolist())
    return re.sub(rb"null", lambda _: next(words), text)
