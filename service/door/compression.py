"""Bodies in fewer bytes: gzip and deflate in both directions (RFC 9110, section 8.4.1)."""

import functools
import zlib
from collections.abc import Iterator
from typing import Final

from service.errors import InvalidRequest, UnsupportedMedia

#: The coding's name and what zlib calls its envelope. HTTP's `deflate` is zlib's format, not a bare stream.
_WINDOWS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_SPOKEN: Final = ("gzip", "deflate")
#: Bytes that one step reads, or makes.
_PIECE: Final = 256 << 10
#: A smaller answer fits into a packet or two anyway; of a larger one so much is tried first.
_SMALL: Final = 2 << 10
_TASTE: Final = 16 << 10
#: What is not smaller by a tenth is not worth the receiver's time.
_WORTH: Final = 0.9
#: Of an Accept-Encoding header no more is looked at.
_LOOKED_AT: Final = 256


def coding_of(content_encoding: bytes) -> str | None:
    """Return the coding that a Content-Encoding header names, None if the body is as it is.

    Raises UnsupportedMedia for any other coding, and for one on top of another.
    """
    name = content_encoding.decode("latin-1").strip().lower()
    if name in ("", "identity"):
        return None
    if name not in _WINDOWS:
        raise UnsupportedMedia(f"Content-Encoding {name[:64]!r} is not spoken here: send gzip, deflate or neither")
    return name


def unpacked(body: bytes, coding: str) -> Iterator[bytes]:
    """Yield what was packed, in pieces of at most 256 KiB, each made of no more than that when it is asked for.

    A piece may be empty, for much of a packed body can be blocks of nothing. Raises InvalidRequest if the body is not
    of that coding, ends too early, or goes on after its end. So does gzip with several members: a body of nothing but
    empty ones would be much work for few bytes.
    """
    inflater = zlib.decompressobj(_WINDOWS[coding])
    view, start = memoryview(body), 0
    while not inflater.eof:
        given: bytes | memoryview = inflater.unconsumed_tail
        if not given:
            given = view[start : start + _PIECE]
            start += len(given)
        try:
            piece = inflater.decompress(given, _PIECE)
        except zlib.error as error:
            raise InvalidRequest(f"the body is not {coding}: {error}") from None
        if not (piece or given):
            raise InvalidRequest(f"the body ends before its {coding} does")
        yield piece
    if inflater.unused_data or start < len(body):
        raise InvalidRequest(f"the body goes on after its {coding} has ended")


def preferred(accept_encoding: str) -> str | None:
    """Return the coding that is spoken here and liked best there, None for none; see RFC 9110, section 12.5.3."""
    return _preferred(accept_encoding[:_LOOKED_AT]) if accept_encoding else None


def packed(body: bytes, coding: str) -> bytes | None:
    """Return the body in that coding, or None if little is won."""
    sample = body[-_TASTE:]  # the end is numbers, whatever the format
    if len(body) < _SMALL or len(zlib.compress(sample, 1)) >= _WORTH * len(sample):
        return None
    packer = zlib.compressobj(1, wbits=_WINDOWS[coding])
    return packer.compress(body) + packer.flush()


@functools.lru_cache(maxsize=64)
def _preferred(accept_encoding: str) -> str | None:
    weights: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        name, _, parameter = item.partition(";")
        weights[name.strip()] = _weight(parameter.replace(" ", ""))
    best = max(_SPOKEN, key=lambda name: weights.get(name, weights.get("*", 0.0)))
    return best if weights.get(best, weights.get("*", 0.0)) else None


def _weight(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q=")) if parameter else 1.0
    except ValueError:
        return 0.0
