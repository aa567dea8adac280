"""Tensors in raw bytes: little-endian, row by row, without padding, as the Open Inference Protocol has them.

Source: Triton's docs/protocol/extension_binary_data.md. A string is its length in 4 bytes and then itself.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from service.errors import InvalidRequest
from service.types import Array, ElementType

_LENGTH: Final = 4


def read(data: memoryview, element: ElementType, shape: Sequence[int]) -> Array:
    """Return the tensor of that shape, sizes not negative. Raises InvalidRequest unless `data` is just its bytes.

    Numbers stay where they are: the array cannot be written to, may be unaligned and keeps the whole body in memory.
    """
    count = math.prod(shape)
    if element.is_string:
        return _strings(data, count).reshape(shape)
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
    parts: list[bytes] = []
    for value in array.ravel().tolist():
        data = value if isinstance(value, bytes) else str(value).encode()
        parts += (len(data).to_bytes(_LENGTH, "little"), data)
    return b"".join(parts)


def _strings(data: memoryview, count: int) -> Array:
    if count * _LENGTH > len(data):
        raise InvalidRequest(f"{len(data)} bytes are too few for {count} strings")
    strings = np.empty(count, dtype=object)
    position = 0
    for number in range(count):
        start = position + _LENGTH
        position = start + int.from_bytes(data[start - _LENGTH : start], "little")
        if start > len(data) or position > len(data):
            raise InvalidRequest(f"string {number} goes on after the end of the data")
        strings[number] = bytes(data[start:position])
    if position != len(data):
        raise InvalidRequest(f"{len(data) - position} bytes follow the last of {count} strings")
    return strings
