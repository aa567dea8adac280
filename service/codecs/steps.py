"""Text in steps, so that no call on megabytes keeps the interpreter's lock."""

import re
from collections.abc import Iterator
from typing import Final

#: The bytes of a step: some 2 ms of work.
STEP: Final = 1 << 17

#: A string less its last quote, and that quote if it is there.
_STRING: Final = re.compile(rb'("(?:[^"\\]++|\\.)*+)("?)', re.DOTALL)
_INSIDE: Final = re.compile(rb'(?:[^"\\]++|\\.)++', re.DOTALL)


def cut(text: bytes, separator: bytes, size: int) -> Iterator[bytes]:
    """Yield the text in pieces of `size` bytes, and what it takes to end them at a separator, which is left out."""
    start = 0
    while start <= len(text):
        end = text.find(separator, start + size)
        piece = text[start : end if end >= 0 else len(text)]
        start += len(piece) + 1
        yield piece


def apart(text: bytes) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Yield what of a JSON text is between its strings, and the strings, which stand in the former's gaps.

    No number and no word is in two steps, if there are commas. A string without an end goes on until the text's.
    """
    start = 0
    while start < len(text):
        parts = _STRING.split(text[start : start + STEP])  # between, string, quote, between, string, quote, between …
        if start + STEP < len(text):
            parts = _whole(parts)
        if not any(parts):
            end = _end(text, start)
            parts = [b"", text[start:end], text[end : end + 1], b""]
        start += sum(map(len, parts))
        yield parts[::3], [string + quote for string, quote in zip(parts[1::3], parts[2::3], strict=True)]


def _whole(parts: list[bytes]) -> list[bytes]:
    """Leave out what goes on in the next step."""
    if b"" in parts[2::3]:
        del parts[-3:]
    last = parts[-1][: parts[-1].rfind(b",") + 1]
    return [*parts[:-1], last] if last or len(parts) > 1 else parts


def _end(text: bytes, start: int) -> int:
    """Return where the last quote is of the string that begins at `start`."""
    place = start + 1
    while match := _INSIDE.match(text, place, place + STEP):
        place = match.end()
    return place
