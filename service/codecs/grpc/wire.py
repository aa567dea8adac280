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

#: A message may have so many fields, and a tensor's so many, each of which is an object; packed numbers are one.
FEW: Final = 1 << 12
MANY: Final = 1 << 20

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}
#: Fields of higher numbers are in no message that is read here; they are passed over, as all that are not known.
_HIGHEST: Final = 31
#: A varint has at most so many bytes, of seven bits each.
_LONGEST: Final = 10
_MASK: Final = (1 << 64) - 1
_LONGEST_TEXT: Final = 1 << 16
_ENDLESS: Final = "a number of a message has no end"
#: Up to so many bytes are copied: a view takes longer to make and to read, and more memory.
_COPIED: Final = 1 << 16
#: In so many bytes, packed numbers are read one by one.
_SHORT: Final = 128
#: Packed numbers are read and written in steps of so many bytes, or numbers.
_STEP: Final = 1 << 16


def load(message: bytes | memoryview, most: int = FEW) -> Fields:
    """Return a message's fields by number, without a copy of what is long; those that are not there are empty.

    Raises InvalidRequest if it is no message, or has more than `most` fields.
    """
    found: dict[int, list[Any]] = defaultdict(list)
    value: Any
    place, size = 0, len(message)
    if size <= _COPIED:
        message = bytes(message)
    while place < size:
        if not most:
            raise InvalidRequest("a message has too many fields")
        most -= 1
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
        else:
            length, place = _varint(message, place) if kind == _BYTES else (_FIXED.get(kind, -1), place)
            if length < 0:
                raise InvalidRequest(f"field {number} of a message has wire type {kind}, which there is not")
            if length > size - place:
                raise InvalidRequest(f"field {number} of a message goes on after its end")
            begin, place = place, place + length
            value = message[begin:place]
            if size > _COPIED >= length:
                value = bytes(value)
        if number <= _HIGHEST:
            found[number].append(value)
    return found


def last(fields: Fields, number: int, default: Any) -> Any:
    """Return a field that is there at most once: the last one counts. Raises InvalidRequest if it is of another type.

    `default`, a number, a text or bytes, is what is returned if there is none.
    """
    values = fields[number]
    if not values:
        return default
    value = values[-1]
    if isinstance(value, int) != isinstance(default, int):
        raise _mistyped(number)
    return _text(value) if isinstance(default, str) else value


def blocks(fields: Fields, number: int) -> Sequence[bytes | memoryview]:
    """Return a field's values, which are bytes. Raises InvalidRequest if one is a number."""
    values = fields[number]
    if any(isinstance(value, int) for value in values):
        raise _mistyped(number)
    return values


def messages(fields: Fields, number: int) -> list[Fields]:
    """Return a field's messages. Raises InvalidRequest if one is none."""
    return [load(value) for value in blocks(fields, number)]


def message(fields: Fields, number: int, most: int = FEW) -> Fields:
    """Return a message within a message, an empty one if it is not there. Raises InvalidRequest as `load` does."""
    return load(last(fields, number, b""), most)


def texts(fields: Fields, number: int) -> list[str]:
    """Return a field's texts. Raises InvalidRequest if one is none."""
    return [_text(value) for value in blocks(fields, number)]


def signed(value: int) -> int:
    """Return what a varint says of a type with negative numbers."""
    return value - (1 << 64) if value >> 63 else value


def sizes(fields: Fields, number: int) -> list[int]:
    """Return a field's integers, of which there may be few, negative ones too. Raises InvalidRequest."""
    data = _joined(fields[number])
    if len(data) > FEW:
        raise InvalidRequest(f"field {number} of a message has too many numbers")
    return [signed(value) for value in _numbers(data)]


def integers(fields: Fields, number: int) -> Iterator[npt.NDArray[np.uint64]]:
    """Yield a field's integers, some at a time; negative ones as their two's complement. Raises InvalidRequest."""
    data = _joined(fields[number])
    if len(data) <= _SHORT:
        yield np.array(list(_numbers(data)), np.uint64)
        return
    encoded = np.frombuffer(data, np.uint8)
    while encoded.size:
        ends = np.flatnonzero(encoded[:_STEP] < 0x80)
        if not ends.size:
            raise InvalidRequest(_ENDLESS)
        step, encoded = encoded[: ends[-1] + 1], encoded[ends[-1] + 1 :]
        if ends.size == step.size:  # of one byte each
            yield step.astype(np.uint64)
            continue
        starts = np.concatenate([[0], ends[:-1] + 1])
        lengths = ends - starts + 1
        if lengths.max() > _LONGEST:
            raise InvalidRequest(_ENDLESS)
        shifts = 7 * (np.arange(step.size) - np.repeat(starts, lengths)).astype(np.uint64)
        yield np.bitwise_or.reduceat((step & 0x7F).astype(np.uint64) << shifts, starts)


def floats(fields: Fields, number: int, kind: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """Return a field's numbers of fixed size; without a copy if they are in one piece. Raises InvalidRequest."""
    kind, data = np.dtype(kind), _joined(blocks(fields, number))
    if len(data) % kind.itemsize:
        raise InvalidRequest(f"{len(data)} bytes are no numbers of {kind.itemsize} bytes each")
    return np.frombuffer(data, kind)


def dump(fields: Mapping[int, Any]) -> bytes:
    """Return the message of these fields.

    A value is an integer, a text, bytes, a message as a mapping of this kind, or a list of such; None is left out.
    """
    return b"".join(_parts(fields))


def packed(numbers: npt.NDArray[np.generic]) -> bytes:
    """Return integers as the bytes of one packed field."""
    flat = numbers.ravel()
    return b"".join(_varints(flat[start : start + _STEP]) for start in range(0, flat.size, _STEP))


def _mistyped(number: int) -> InvalidRequest:
    return InvalidRequest(f"field {number} of a message is of another type")


def _text(value: bytes | memoryview) -> str:
    if len(value) > _LONGEST_TEXT:
        raise InvalidRequest(f"a text is longer than {_LONGEST_TEXT} bytes")
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"a text is not UTF-8: {error}") from None


def _varint(data: bytes | memoryview, place: int) -> tuple[int, int]:
    """Return the number at a place before the end, and the place after it."""
    try:
        value = data[place]
    except IndexError:
        raise InvalidRequest(_ENDLESS) from None
    if value < 0x80:
        return value, place + 1
    value &= 0x7F
    for count, byte in enumerate(data[place + 1 : place + _LONGEST], 1):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value & _MASK, place + count + 1
    raise InvalidRequest(_ENDLESS)


def _numbers(data: bytes | memoryview) -> Iterator[int]:
    """Yield packed integers."""
    place, size = 0, len(data)
    while place < size:
        value, place = _varint(data, place)
        yield value


def _joined(values: Sequence[Any]) -> bytes | memoryview:
    """Return a field's numbers as if they had come packed, and in one piece."""
    if len(values) == 1 and not isinstance(values[0], int):
        piece: bytes | memoryview = values[0]
        return piece
    joined = bytearray()
    for value in values:
        joined += _number(value) if isinstance(value, int) else value
    return memoryview(joined)


def _varints(numbers: npt.NDArray[np.generic]) -> bytes:
    """Return integers as varints: all as long as the longest, of whose bytes those are kept that are needed."""
    values = numbers.astype(np.int64 if numbers.dtype.kind == "i" else np.uint64).astype(np.uint64)
    bits = int(values.max()).bit_length()
    if bits < 8:
        return values.astype(np.uint8).tobytes()
    shifted = values[:, None] >> np.arange(0, bits, 7, dtype=np.uint64)
    needed = shifted > 0
    needed[:, 0] = True
    encoded = shifted.astype(np.uint8) & 0x7F
    encoded[:, :-1] |= needed[:, 1:].view(np.uint8) << 7  # one more follows
    return encoded[needed].tobytes()


def _parts(fields: Mapping[int, Any]) -> list[bytes | memoryview]:
    """Return a message in pieces: so no tensor is copied more than once."""
    parts: list[bytes | memoryview] = []
    for number, given in fields.items():
        for value in given if isinstance(given, list) else [given]:
            if isinstance(value, int):
                parts.append(_number(number << 3) + _number(value & _MASK))
            elif value is not None:
                data = value.encode() if isinstance(value, str) else value
                pieces = _parts(data) if isinstance(data, Mapping) else [data]
                parts += (_number(number << 3 | _BYTES) + _number(sum(map(len, pieces))), *pieces)
    return parts


def _number(value: int) -> bytes:
    """Return one varint."""
    return value.to_bytes() if value < 0x80 else (value & 0x7F | 0x80).to_bytes() + _number(value >> 7)
