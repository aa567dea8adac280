"""Tensors in raw bytes: little-endian, row by row, without padding, as the Open Inference Protocol has them.

Source: Triton's docs/protocol/extension_binary_data.md. A string is its length in 4 bytes and then itself.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from service.errors import InvalidRequest, TooLarge
from service.types import Array, ElementType

#: Of a string.
_LENGTH: Final = struct.Struct("<I")
#: A tensor has so many strings at most: each takes ten times the memory that a short one has in a request.
_MOST_STRINGS: Final = 1 << 20
#: So many strings are written at a time: the event loop has its turns in between.
_STEP: Final = 1 << 16


def read(data: memoryview, element: ElementType, shape: Sequence[int]) -> Array:
    """Return the tensor of that shape, sizes not negative.

    Raises InvalidRequest unless `data` is just its bytes, TooLarge for more strings than there is memory for.
    Numbers stay where they are: the array cannot be written to, may be unaligned and keeps the whole body in memory.
    """
    count = math.prod(shape)
    if element.is_string:
        if count * _LENGTH.size > len(data):
            raise InvalidRequest(f"{len(data)} bytes are too few for {count} strings")
        if count > _MOST_STRINGS:
            raise TooLarge(f"{count} strings are in one tensor; at most {_MOST_STRINGS} are taken")
        return np.fromiter(_strings(bytes(data), count), dtype=object).reshape(shape)
    if len(data) != count * element.numpy.itemsize:
        raise InvalidRequest(f"{len(data)} bytes, but {element.oip} of that shape has {count * element.numpy.itemsize}")
    if element.numpy.kind == "b":  # a bool of any other byte than 0 and 1 would be undefined behaviour
        truths: Array = np.frombuffer(data, np.uint8) != 0
        return truths.reshape(shape)
    return np.frombuffer(data, element.numpy).reshape(shape)


def write(array: Array) -> bytes | memoryview:
    """Return the tensor's bytes, without a copy if they lie in a row."""
    if array.dtype.kind != "O":
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    flat = array.reshape(-1)
    return b"".join([_written(flat[start : start + _STEP].tolist()) for start in range(0, len(flat), _STEP)])


def _written(strings: list[Any]) -> bytes:
    parts: list[bytes] = []
    for value in strings:
        data = value if isinstance(value, bytes) else str(value).encode()
        parts += (len(data).to_bytes(_LENGTH.size, "little"), data)
    return b"".join(parts)


def _strings(data: bytes, count: int) -> Iterator[bytes]:
    """Yield the strings: there may be millions, each as short as its length is."""
    position, size, length_at = 0, len(data), _LENGTH.unpack_from
    for number in range(count):
        start = position + _LENGTH.size
        position = start + length_at(data, position)[0] if start <= size else start
        if position > size:
            raise InvalidRequest(f"string {number} goes on after the end of the data")
        yield data[start:position]
    if position != size:
        raise InvalidRequest(f"{size - position} bytes follow the last of {count} strings")
