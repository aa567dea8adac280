"""Finds the tracks in a file of audio: one in most, but an OGG may be chained, others are put one after the other.

libsndfile reads the first, and of an MP3 as much as it takes for its length. Sources: RFC 3533 for OGG; RFC 9639 for
FLAC; ISO 11172-3 and 13818-3 for MP3; id3.org for ID3 and wiki.hydrogenaud.io for APEv2, the tags around MP3s.
"""

import io
import re
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any, Final

from service.errors import UnsupportedMedia

#: How a page of an OGG begins that is a stream's first, and how a FLAC begins.
_FIRST: Final = b"OggS\0\2"
_FLAC: Final = re.compile(rb"fLaC[\0\x80]\0\0\x22")
#: How a frame of an MP3 begins, four bytes and one; and the first, if a Xing or Info tag tells of all frames and bytes.
_RATES: Final = re.escape(bytes(byte for byte in range(0x10, 0xF0) if byte & 15 < 12))
_FRAME: Final = re.compile(rb"(?s)\xff[\xe2\xe3\xf2\xf3\xfa\xfb][%b].." % _RATES)
_TOLD: Final = re.compile(
    rb"(?s).{6}(?:\0{7}|\0{15}|\0{30})(?:Xing|Info)\0\0\0[\1\3\5\7\x09\x0b\x0d\x0f](?!\0{4})(.{4})(.{4})"
)
#: Kilobits a second, by four bits of a frame's head: of MPEG 2 and 2.5, and of MPEG 1.
_SPEEDS: Final = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
_FAR: Final = 1 << 40


def tracks(data: bytes) -> Iterator[io.BytesIO]:
    """Yield the tracks in a WAV, FLAC, OGG or MP3. Raises UnsupportedMedia for what is none of these."""
    place = _behind_tags(data, 0)
    head = data[place : place + 12]
    begins: list[int] = []
    if head[:1] == b"\xff" and head[1:2] >= b"\xe0":
        yield from _mp3s(data, place)
        return
    if head.startswith(b"OggS"):
        begins = list(_links(data, place))[1:]
    elif head.startswith(b"fLaC"):
        begins = [found.start() for found in _FLAC.finditer(data, place + 1)]
    elif head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise UnsupportedMedia("the body is no audio in WAV, FLAC, OGG or MP3")
    yield from (io.BytesIO(data[begin:end]) for begin, end in pairwise([place, *begins, len(data)]))


class _Mp3(io.BytesIO):
    """An MP3 that has the size it is given for those who seek its end, and whose last frame is whole.

    libmpg123 complains of a size other than the one told. Where none is, it guesses the length by the size and the
    first frame, and libsndfile reads no further. Far from the end, a broken last frame would be an error.
    """

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._far, self._beyond = size - len(data), 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._beyond = self._far if whence == io.SEEK_END else 0
        return super().seek(offset, whence)

    def tell(self) -> int:
        return super().tell() + self._beyond

    def readinto(self, buffer: Any, /) -> int:
        if size := super().readinto(buffer):
            buffer[size : len(buffer)] = bytes(len(buffer) - size)
        return size and len(buffer)


def _mp3s(data: bytes, place: int) -> Iterator[io.BytesIO]:
    """Yield the runs of frames from the place on, whatever lies between and behind them; all if there are none."""
    begin, found = place, False
    while head := _FRAME.search(data, _behind_tags(data, place)):
        place = head.start()
        told = _TOLD.match(data, place)
        ends = list(islice(_frames(data, place), int.from_bytes(told[1]) + 1 if told else None))
        if len(ends) > 2:
            found = True
            track = data[place : ends[-1]]
            yield _Mp3(track, max(int.from_bytes(told[2]), len(track)) if told else _FAR)
        place = ends[-1]
    if not found:
        yield _Mp3(data[begin:].rstrip(b"\0"), _FAR)


def _frames(data: bytes, place: int) -> Iterator[int]:
    """Yield where the frames end that begin at the place, as long as they follow one another and are of one kind."""
    kinds = set()
    while _FRAME.match(data, place):
        head = int.from_bytes(data[place : place + 4])
        mpeg, rate = head >> 19 & 3, head >> 10 & 3
        kinds.add((mpeg, rate, head >> 6 & 3 == 3))
        if len(kinds) > 1:
            return
        hertz = (44_100, 48_000, 32_000)[rate] >> (4 - mpeg) // 2
        place += (144_000 if mpeg == 3 else 72_000) * _SPEEDS[mpeg == 3][head >> 12 & 15] // hertz + (head >> 9 & 1)
        yield place


def _links(data: bytes, place: int) -> Iterator[int]:
    """Yield where the links of a chained OGG begin: with a first page, or several, of streams that go side by side."""
    end = -1
    while (place := data.find(_FIRST, place)) >= 0:
        if place != end:
            yield place
        place += 27
        sizes = data[place : place + int.from_bytes(data[place - 1 : place])]
        end = place + len(sizes) + sum(sizes)


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
