"""Lists of numbers between JSON and numpy: the short way for small ones, in small steps for large ones.

No single call works on more than a few hundred kilobytes, so that the interpreter's lock is free again after some
milliseconds: a thread that reads megabytes leaves the event loop its turns.
"""

import contextlib
import functools
import itertools
import json
import math
import re
import struct
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from service.codecs import steps
from service.errors import InvalidRequest
from service.types import Array, ElementType

STEP: Final = steps.STEP
#: Bytes of numbers that are written in the time that a list around them takes.
_LIST: Final = 24
#: Lists that are nested more deeply are not plain.
_DEEPEST: Final = 16
_ELEMENTS: Final[dict[str, type]] = {"f": float, "i": int, "u": int, "b": bool}
#: What struct calls them.
_CODES: Final = {np.dtype(code): code for code in "efdbhiqBHIQ?"}
#: So many lengths of lists are remembered.
_PACKERS: Final = 64
#: In texts of more bytes than this, lists of less than so many on average cost more than reading the text twice.
_MIDDLE: Final = 1 << 10
_SHORT: Final = 24
_UNBRACKETED: Final = bytes.maketrans(b"[]", b"  ")
#: All that numbers, `true` and `false` are written with, and blanks.
_VALUES: Final = b"0123456789+-.eEtrufals \t\r\n"
_OPENING: Final = re.compile(rb"[\[ \t\r\n]*+")
#: An opening bracket that nothing follows, a closing bracket that something follows.
_MISPLACED: Final = (re.compile(rb"\[[ \t\r\n]*+(?:[\],]|\Z)"), re.compile(rb"\][ \t\r\n]*+[^\],]"))
_MARK: Final = b"e7777"
#: No double is as large: these are refused where they are not looked for.
_MARKED: Final = {b"-Infinity": b"-8e7777", b"Infinity": b"8e7777", b"NaN": b"7e7777"}
_UNMARKED: Final = {mark.decode(): float(word) for word, mark in _MARKED.items()}
_TRAILING: Final = re.compile(r"trailing characters \(byte ([0-9]+)\)")
#: What orjson writes as null, by what Python calls it.
_WORDS: Final = {"nan": b"NaN", "inf": b"Infinity", "-inf": b"-Infinity"}


def read(text: bytes, element: ElementType, rank: int | None) -> Array | None:
    """Return the array of `rank` dimensions, or whichever it has, that `text` holds; None if it is not plainly one."""
    return _read(_read_nested if is_light(text) else _read_flat, text, element, rank)


def is_light(text: bytes) -> bool:
    """Tell whether the text's lists are best read as lists."""
    return len(text) <= STEP and (len(text) <= _MIDDLE or text.count(b"[", 0, _MIDDLE) * _SHORT <= _MIDDLE)


def read_marked(text: bytes | msgspec.Raw, element: ElementType, rank: int | None) -> Array | None:
    """Read what is part of a document that is `marked`."""
    return _read(functools.partial(_read_flat, numbers=_marked_numbers), bytes(text), element, rank)


def marked(document: bytes) -> bytes:
    """Return a document in which numbers that JSON has not are ones for `read_marked`; its strings stay as they are.

    What follows the document's first value is left out. A document without either is returned itself.
    """
    if _MARK in document:
        return document  # somebody knows the trick
    text = b"".join(map(_mark, steps.apart(document))) if b"NaN" in document or b"Infinity" in document else document
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as error:
        trailing = _TRAILING.search(str(error))
        return text[: int(trailing[1]) - 1] if trailing else document
    return document if text == document else text


def write(array: Array) -> bytes:
    """Return the array, or the scalar, as JSON with NaN, Infinity and -Infinity; floats by their shortest text."""
    if array.nbytes <= STEP // 8 or (weight := _weight(array)) <= STEP:
        return _write(array)
    rows = STEP * len(array) // weight
    if rows:
        parts = [_write(array[start : start + rows])[1:-1] for start in range(0, len(array), rows)]
    else:
        parts = [write(row) for row in array]
    return b"[%s]" % b",".join(parts)


def opening(text: bytes) -> int:
    """Return how many brackets a text opens with: the rank of its lists."""
    match = _OPENING.match(text)
    return match[0].count(b"[") if match else 0


def shape(structure: bytes, rank: int, leaf: bytes = b"") -> list[int]:
    """Return the shape of lists of leaves, such as [2, 3] of `[[,,],[,,]]`, whose leaves are b"". Raises ValueError."""
    if rank > _DEEPEST:
        raise ValueError("lists are nested too deeply")
    sizes: list[int] = []
    item = leaf
    for depth in reversed(range(rank)):
        end = structure.find(b"]" * (rank - depth)) + rank - depth  # of the first list that lies so deep
        size = (end - depth - 1) // (len(item) + 1)
        item = b"[" + (item + b",") * (size - 1) + item + b"]"
        sizes.insert(0, size)
    if item != structure:
        raise ValueError("lists of one level differ in length")
    return sizes


def as_array(values: Any, element: ElementType, rank: int = 1) -> Array:
    """Return the array, not to be written to, of lists in `rank` levels: by struct, in half of numpy's time.

    Raises InvalidRequest for a number out of range, ValueError if ragged.
    """
    numbers, sizes = (values, [len(values)]) if rank else ([values], [])
    for _ in range(rank - 1):
        if len(numbers) == 1:  # in half of the time
            numbers = numbers[0]
            size = len(numbers)
        else:
            (size,) = set(map(len, numbers))  # ValueError if there are several, or none
            numbers = list(itertools.chain.from_iterable(numbers))
        sizes.append(size)
    try:
        packed = _packer(len(numbers), element)(*numbers)
    except (OverflowError, struct.error):
        raise InvalidRequest(f"a number is out of the range of {element.numpy}") from None
    return np.ndarray(sizes, element.numpy, packed)


@functools.lru_cache(_PACKERS)
def _packer(count: int, element: ElementType) -> Callable[..., bytes]:
    return struct.Struct(f"={count}{_CODES[element.numpy]}").pack


def _read(
    way: Callable[[bytes, ElementType, int], Array], text: bytes, element: ElementType, rank: int | None
) -> Array | None:
    if rank is None:
        rank = opening(text)
    if element.numpy.kind not in _ELEMENTS or not 0 <= rank <= _DEEPEST:
        return None
    try:
        return way(text, element, rank)
    except (ValueError, RecursionError, InvalidRequest):  # the parser's errors are ValueErrors
        return None


def _read_nested(text: bytes, element: ElementType, rank: int) -> Array:
    return as_array(_decoder(element, rank).decode(text), element, rank)


def _numbers(text: bytes, element: ElementType) -> Any:
    """Return the numbers of a flat list."""
    return _decoder(element, 1).decode(text)


def _read_flat(
    text: bytes, element: ElementType, rank: int, numbers: Callable[[bytes, ElementType], Any] = _numbers
) -> Array:
    """Read the numbers without their brackets, and the brackets without the numbers; raise ValueError if one is amiss.

    The numbers must be one list to the parser, the brackets and commas must be those of one shape, and no number may
    stand before an opening bracket or after a closing one: such text is nested lists of that shape, and no other is.
    """
    if opening(text) != rank:
        raise ValueError(f"not a list of rank {rank}")
    arrays, structure = [], []
    for piece in steps.cut(text, b",", STEP):
        if any(pattern.search(piece) for pattern in _MISPLACED):
            raise ValueError("a number is outside of the lists")
        flat = numbers(b"[%s]" % piece.translate(_UNBRACKETED), element)
        arrays.append(as_array(flat, element))
        structure.append(piece.translate(None, _VALUES))
    return np.concatenate(arrays).reshape(shape(b",".join(structure), rank))


def _mark(step: tuple[list[bytes], list[bytes]]) -> bytes:
    """Return a step of steps.apart with its words marked."""
    others, strings = step
    text = b'"'.join(others)
    for word, mark in _MARKED.items():
        text = text.replace(word, mark)
    parts = zip(text.split(b'"'), [*strings, b""], strict=True)
    return b"".join([part for pair in parts for part in pair])


def _marked_numbers(text: bytes, element: ElementType) -> Any:
    with contextlib.suppress(msgspec.ValidationError):  # a mark is out of range
        return _numbers(text, element)
    numbers = json.loads(text, parse_float=_unmarked)
    if element.numpy.kind != "f" or not set(map(type, numbers)) <= {int, float}:
        raise ValueError("not a list of floats")
    return numbers


def _unmarked(text: str) -> float:
    number = float(text)
    if math.isinf(number) and text not in _UNMARKED:
        raise ValueError("a number is out of range")
    return _UNMARKED.get(text, number)


def nested(element: ElementType, rank: int) -> Any:
    """Return the type of lists of that rank. Raises KeyError for elements that are no numbers."""
    found: Any = _ELEMENTS[element.numpy.kind]
    for _ in range(rank):
        found = list[found]
    return found


@functools.cache
def _decoder(element: ElementType, rank: int) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(nested(element, rank))


def _weight(array: Array) -> int:
    """Return the array's bytes, and some for each of its lists: orjson takes as long for one as for a few numbers."""
    return array.nbytes + _LIST * sum(math.prod(array.shape[:axis]) for axis in range(array.ndim))


def _write(array: Array) -> bytes:
    text = orjson.dumps(
        array if array.ndim else array[()], default=np.ascontiguousarray, option=orjson.OPT_SERIALIZE_NUMPY
    )
    if text.find(b"null") < 0:  # in half of the time of `in`, which tries whether bytes are a number
        return text
    words = (_WORDS[str(number)] for number in array[~np.isfinite(array)].tolist())
    return re.sub(rb"null", lambda _: next(words), text)
