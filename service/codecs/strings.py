"""Lists of strings between JSON and numpy, in steps: see steps.py."""

import base64
import re
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from service.codecs import numeric, steps
from service.errors import InvalidRequest
from service.types import Array

_strings: Final = msgspec.json.Decoder(list[str])
#: A string, or one in base 64, without what stands between the quotes.
_OBJECT: Final = b'{":"}'
_LEAF: Final = re.compile(b'"|' + re.escape(_OBJECT))


def read(text: bytes) -> Array | None:
    """Return the array of strings, or {"b64": …}, that `text` holds in nested lists; None if it is not plainly one."""
    structure, found = [], []
    try:
        for others, strings in steps.apart(text):
            structure.append(b'"'.join(others).translate(None, b" \t\r\n"))
            decoded = _strings.decode(b"[%s]" % b",".join(strings))
            found.append(np.fromiter(map(str.encode, decoded), dtype=object))
        whole, flat = b"".join(structure), np.concatenate(found)
        shape = numeric.shape(whole.replace(_OBJECT, b'"'), numeric.opening(whole), b'"')
        if _OBJECT in whole:
            left = iter(flat)
            flat = np.fromiter((_string(leaf[0], left) for leaf in _LEAF.finditer(whole)), dtype=object)
    except (ValueError, InvalidRequest):  # the parser's errors are ValueErrors
        return None
    return flat.reshape(shape)


def unbase64(text: str) -> bytes:
    """Decode standard base 64; as in TensorFlow Serving, blanks do not count and the padding may be left out."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        text = "".join(text.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise InvalidRequest(f"Unable to base64 decode: {error}") from None


def _string(leaf: bytes, left: Iterator[bytes]) -> bytes:
    text = next(left)
    if leaf != _OBJECT:
        return text
    if text != b"b64":
        raise ValueError("an object is none of base 64")
    return unbase64(next(left).decode())
