"""Protobuf's wire format: messages as numbered fields.

Source: protobuf.dev/programming-guides/encoding. Read and written here rather than by generated classes, which copy
every tensor, keep the interpreter's lock while they read one message of millions of fields, and are another package.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.errors import InvalidRequest

#: A field's values in the order in which they came: integers, and the bytes of all that has a length or a fixed size.
Fields = Mapping[int, Sequence[Any]]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}
#: A varint has at most so many bytes, of seven bits each.
_LONGEST: Final = 10
_MASK: Final = (1 << 64) - 1
_ENDLESS: Final = "a number of a message has no end"
#: A message may have so many fields, each of which is a few objects; packed numbers are one.
_MOST: Final = 1 << 20
#: Packed numbers are read and written in steps of so many bytes, or numbers.
_STEP: Final = 1 << 17


def load(message: memoryview) -> Fields:
    """Return a message's fields by number, without a copy; those that are not there are empty.

    Raises InvalidRequest if it is no message.
    """
    found: dict[int, list[Any]] = defaultdict(list)
    for count, (number, value) in enumerate(_fields(message)):
        if count >= _MOST:
            raise InvalidRequest(f"the message has more than {_MOST} fields")
        found[number].append(value)
    return found


def last(fields: Fields, number: int, default: Any) -> Any:
    """Return a field that is there at most once: the last one counts. Raises InvalidRequest if it is of another type.

    `default` is what is returned if there is none; of a text, an empty one, of bytes an empty memoryview.
    """
    values = fields[number]
    if not values:
        return default
    value = values[-1]
    if isinstance(value, int) != isinstance(default, int):
        raise InvalidRequest(f"field {number} of a message is of another type")
    return text(value) if isinstance(default, str) else value


def messages(fields: Fields, number: int) -> list[Fields]:
    """Return a field's messages. Raises InvalidRequest if one is none."""
    return [load(_bytes(value, number)) for value in fields[number]]


def message(fields: Fields, number: int) -> Fields:
    """Return a message within a message, an empty one if it is not there. Raises InvalidRequest if it is none."""
    return load(last(fields, number, memoryview(b"")))


def strings(fields: Fields, number: int) -> list[bytes]:
    """Return a field's byte strings. Raises InvalidRequest if one is none."""
    return [bytes(_bytes(value, number)) for value in fields[number]]


def texts(fields: Fields, number: int) -> list[str]:
    """Return a field's texts. Raises InvalidRequest if one is none."""
    return [text(_bytes(value, number)) for value in fields[number]]


def text(value: memoryview) -> str:
    """Return a text. Raises InvalidRequest if it is not UTF-8."""
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"a text is not UTF-8: {error}") from None


def signed(value: int) -> int:
    """Return what a varint says of a type with negative numbers."""
    return value - (1 << 64) if value >> 63 else value


def integers(fields: Fields, number: int) -> npt.NDArray[np.uint64]:
    """Return a field's integers, packed or not; of types with negative numbers, their two's complement."""
    pieces: list[npt.NDArray[np.uint64]] = []
    for value in fields[number]:
        pieces += [np.array([value], np.uint64)] if isinstance(value, int) else _unpacked(value)
    return np.concatenate(pieces) if pieces else np.empty(0, np.uint64)


def floats(fields: Fields, number: int, kind: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """Return a field's numbers of fixed size, packed or not; without a copy if there is one piece."""
    kind, pieces = np.dtype(kind), fields[number]
    data = _bytes(pieces[0], number) if len(pieces) == 1 else b"".join(_bytes(piece, number) for piece in pieces)
    if len(data) % kind.itemsize:
        raise InvalidRequest(f"{len(data)} bytes are no numbers of {kind.itemsize} bytes each")
    return np.frombuffer(data, kind)


def dump(fields: Mapping[int, Any]) -> bytes:
    """Return the message of these fields.

    A value is an integer, a text, bytes, a message as a mapping of this kind, or a list of such; None is left out.
    """
    return b"".join(_parts(fields)[0])


def packed(numbers: npt.NDArray[np.generic]) -> bytes:
    """Return integers as the bytes of one packed field."""
    flat = numbers.ravel()
    return b"".join(_varints(flat[start : start + _STEP]) for start in range(0, flat.size, _STEP))


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    place, size = 0, len(data)
    while place < size:
        key, place = _varint(data, place)
        kind, number = key & 7, key >> 3
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == _BYTES:
            length, place = _varint(data, place)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise InvalidRequest(f"field {number} of a message has wire type {kind}, which there is not")
        if length > size - place:
            raise InvalidRequest(f"field {number} of a message goes on after its end")
        yield number, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """Return the number at a place, and the place after it."""
    value = 0
    for count, byte in enumerate(data[place : place + _LONGEST]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value & _MASK, place + count + 1
    raise InvalidRequest(_ENDLESS)


def _bytes(value: Any, number: int) -> memoryview:
    if isinstance(value, int):
        raise InvalidRequest(f"field {number} of a message is of another type")
    found: memoryview = value
    return found


def _unpacked(data: memoryview) -> Iterator[npt.NDArray[np.uint64]]:
    """Yield the packed integers, some at a time."""
    encoded = np.frombuffer(data, np.uint8)
    while encoded.size:
        ends = np.flatnonzero(encoded[:_STEP] < 0x80)
        if not ends.size:
            raise InvalidRequest(_ENDLESS)
        starts = np.concatenate([[0], ends[:-1] + 1])
        step, encoded = encoded[: ends[-1] + 1], encoded[ends[-1] + 1 :]
        sizes = ends - starts + 1
        if sizes.max() > _LONGEST:
            raise InvalidRequest(_ENDLESS)
        shifts = 7 * (np.arange(step.size) - np.repeat(starts, sizes)).astype(np.uint64)
        yield np.bitwise_or.reduceat((step & 0x7F).astype(np.uint64) << shifts, starts)


def _varints(numbers: npt.NDArray[np.generic]) -> bytes:
    """Return integers as varints: all of ten bytes, of which those are kept that are needed."""
    values = numbers.astype(np.int64 if numbers.dtype.kind == "i" else np.uint64).astype(np.uint64)
    if values.max() < 0x80:
        return values.astype(np.uint8).tobytes()
    shifted = values[:, None] >> np.arange(0, 7 * _LONGEST, 7, dtype=np.uint64)
    needed = np.maximum.accumulate(shifted[:, ::-1] > 0, axis=1)[:, ::-1]
    needed[:, 0] = True
    follows = np.concatenate([needed[:, 1:], np.zeros((len(needed), 1), bool)], axis=1)
    return bytes(((shifted & 0x7F) | (follows.astype(np.uint64) << np.uint64(7))).astype(np.uint8)[needed])


def _parts(fields: Mapping[int, Any]) -> tuple[list[bytes | memoryview], int]:
    """Return a message in pieces, and its length: so no tensor is copied more than once."""
    parts: list[bytes | memoryview] = []
    for number, given in fields.items():
        for value in given if isinstance(given, list) else [given]:
            if isinstance(value, int):
                parts.append(_number(number << 3) + _number(value & _MASK))
            elif value is not None:
                pieces, length = _parts(value) if isinstance(value, Mapping) else _encoded(value)
                parts += (_number(number << 3 | _BYTES) + _number(length), *pieces)
    return parts, sum(map(len, parts))


def _encoded(value: str | bytes | memoryview) -> tuple[list[bytes | memoryview], int]:
    data = value.encode() if isinstance(value, str) else value
    return [data], len(data)


def _number(value: int) -> bytes:
    """Return one varint."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
