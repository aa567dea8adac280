"""Finds the tracks in a file of audio: one in most, but an OGG may be chained, others are put one after the other.

libsndfile reads the first, and of an MP3 as much as it takes for its length. Sources: RFC 3533 for OGG; RFC 9639 for
FLAC; id3.org for ID3 and wiki.hydrogenaud.io for APEv2, the tags around MP3s.
"""

import io
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from service.errors import InvalidRequest, UnsupportedMedia

#: How a page of an OGG begins that is a stream's first, and how a FLAC begins.
_FIRST: Final = b"OggS\0\2"
_FLAC: Final = re.compile(rb"fLaC[\0\x80]\0\0\x22")
#: The bytes of an MP3's longest frame: what is shorter is no track.
_FRAME: Final = 1441
_FAR: Final = 1 << 40


def tracks(data: bytes) -> Iterator[io.BytesIO]:
    """Yield the tracks in a WAV, FLAC, OGG or MP3; each is to be read to its end before the next is asked for.

    Raises UnsupportedMedia for what is none of these, InvalidRequest where an MP3 goes on as something else.
    """
    place = _behind_tags(data, 0)
    head = data[place : place + 12]
    begins: list[int] = []
    if _is_mp3(head):
        yield from _mp3s(data.rstrip(b"\0"), place)
        return
    if head.startswith(b"OggS"):
        begins = list(_links(data, place))[1:]
    elif head.startswith(b"fLaC"):
        begins = [found.start() for found in _FLAC.finditer(data, place + 1)]
    elif head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise UnsupportedMedia("the body is no audio in WAV, FLAC, OGG or MP3")
    yield from (io.BytesIO(data[begin:end]) for begin, end in pairwise([place, *begins, len(data)]))


class _Mp3(io.BytesIO):
    """An MP3 whose end is far away for those who seek it, and whose last frame is whole.

    Without a tag that tells its length, libmpg123 guesses that by the size and the first frame, and libsndfile reads no
    further. Far from the end, a broken last frame would be an error.
    """

    _beyond = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._beyond = _FAR if whence == io.SEEK_END else 0
        return super().seek(offset, whence)

    def tell(self) -> int:
        return super().tell() + self._beyond

    def readinto(self, buffer: Any, /) -> int:
        size = super().readinto(buffer)
        if not size:
            return 0
        buffer[size : len(buffer)] = bytes(len(buffer) - size)
        return len(buffer)


def _mp3s(data: bytes, place: int) -> Iterator[io.BytesIO]:
    """Yield the MP3 at the place, and those behind it; where one ends is known when it was read."""
    while True:
        if not _is_mp3(data[place : place + 2]):
            raise InvalidRequest(f"the audio is not heard to its end: what begins at byte {place} is no MP3")
        yield (track := _Mp3(data[place:]))
        place = _behind_tags(data, place + track.tell())
        if len(data) - place < _FRAME:
            return


def _links(data: bytes, place: int) -> Iterator[int]:
    """Yield where the links of a chained OGG begin: with a first page, or several, of streams that go side by side."""
    end = -1
    while (place := data.find(_FIRST, place)) >= 0:
        if place != end:
            yield place
        place += 27
        sizes = data[place : place + int.from_bytes(data[place - 1 : place])]
        end = place + len(sizes) + sum(sizes)


def _is_mp3(head: bytes) -> bool:
    return head[:1] == b"\xff" and head[1:2] >= b"\xe0"


def _behind_tags(data: bytes, place: int) -> int:
    """Return where the tags end that begin at the place."""
    while size := _tag(data, place):
        place += size
    return place


def _tag(data: bytes, place: int) -> int:
    """Return the size of the tag at the place, 0 if there is none."""
    if data.startswith(b"ID3", place) and len(head := data[place + 5 : place + 10]) == 5:
        ends = 20 if head[0] & 16 else 10  # with a footer or without
        return ends + sum((byte & 127) << shift for byte, shift in zip(head[1:], (21, 14, 7, 0), strict=True))
    if data.startswith(b"APETAGEX", place):
        return 32 + int.from_bytes(data[place + 12 : place + 16], "little")
    return 128 if data.startswith(b"TAG", place) else 0
