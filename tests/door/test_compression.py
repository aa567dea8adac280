"""service/door/compression.py: bodies in fewer bytes, and bodies that pretend to be."""

import gzip
import random
import zlib

import pytest

from service.door.compression import coding_of, packed, preferred, unpacked
from service.errors import InvalidRequest, UnsupportedMedia

TEXT = b'{"instances": [[0.0, 1.0, 2.0]]}' * 200
NOISE = random.Random(1).randbytes(600_000)
#: A block of DEFLATE that is stored as it is, and has no bytes.
NOTHING = b"\0\0\0\xff\xff"
CODING = pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate"])


def pack(body: bytes, coding: str) -> bytes:
    return zlib.compress(body) if coding == "deflate" else gzip.compress(body)


def refused(body: bytes, coding: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        list(unpacked(body, coding))
    return str(caught.value)


@CODING
@pytest.mark.parametrize("body", [b"", b"x", TEXT, NOISE, bytes(3_000_000)], ids=["", "x", "text", "noise", "zeros"])
def test_what_was_packed_comes_out(coding: str, body: bytes) -> None:
    pieces = list(unpacked(pack(body, coding), coding))
    assert b"".join(pieces) == body
    assert max(map(len, pieces), default=0) <= 256 << 10


@CODING
def test_a_bomb_is_unpacked_no_further_than_asked(coding: str) -> None:
    bomb = pack(bytes(100_000_000), coding)
    assert len(bomb) < 200_000
    pieces = unpacked(bomb, coding)
    assert sum(len(next(pieces)) for _ in range(3)) <= 3 * (256 << 10)


@CODING
def test_of_blocks_of_nothing_no_more_is_looked_at_at_a_time(coding: str) -> None:
    whole = pack(b"x", coding)
    begin = 10 if "gzip" in coding else 2  # bytes, of the envelope
    pieces = list(unpacked(whole[:begin] + NOTHING * 200_000 + whole[begin:], coding))
    assert b"".join(pieces) == b"x"
    assert len(pieces) == 1_000_000 // (256 << 10) + 1


@CODING
@pytest.mark.parametrize("body", [b"x", TEXT, NOISE], ids=["x", "text", "noise"])
def test_what_is_cut_short_is_refused_wherever_it_is_cut(coding: str, body: bytes) -> None:
    whole = pack(body, coding)
    for length in {0, 1, 5, len(whole) // 2, len(whole) - 5, len(whole) - 1}:
        assert refused(whole[:length], coding) == f"the body ends before its {coding} does"


@CODING
@pytest.mark.parametrize("body", [b"x", NOISE], ids=["x", "noise"])
@pytest.mark.parametrize(
    "rest", [b"\0", b"garbage", bytes(300_000), gzip.compress(b"x")], ids=["0", "9", "long", "gzip"]
)
def test_what_goes_on_after_its_end_is_refused(coding: str, body: bytes, rest: bytes) -> None:
    assert refused(pack(body, coding) + rest, coding) == f"the body goes on after its {coding} has ended"


@CODING
def test_what_is_no_such_coding_is_refused(coding: str) -> None:
    for body in (TEXT, b"\x1f\x8b" + NOISE, NOISE, pack(TEXT, "deflate" if "gzip" in coding else "gzip")):
        assert refused(body, coding).startswith(f"the body is not {coding}: ")
    damaged = bytearray(pack(TEXT, coding))
    damaged[-4 if coding == "deflate" else -8] ^= 1
    assert "incorrect data check" in refused(bytes(damaged), coding)


@pytest.mark.parametrize(
    ("header", "coding"),
    [(b"", None), (b"identity", None), (b"gzip", "gzip"), (b" GZIP ", "gzip"), (b"x-gzip", "x-gzip")],
)
def test_the_coding_is_read_from_its_header(header: bytes, coding: str | None) -> None:
    assert coding_of(header) == coding


@pytest.mark.parametrize(
    "header", [b"br", b"zstd", b"gzip, gzip", b"gzip,deflate", b"identity, gzip", b"\xff", b"," * 9]
)
def test_other_codings_and_stacked_ones_are_refused(header: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="send gzip, deflate or neither"):
        coding_of(header)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("GZip", "gzip"),
        ("br, gzip;q=0.5, deflate; q=0.9", "deflate"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0, *", "deflate"),
        ("gzip;q=0", None),
        ("gzip;q=x", None),
        ("identity", None),
        ("br", None),
        ("x" * 1000 + ", gzip", None),
    ],
)
def test_an_answer_has_the_coding_that_is_liked_best(accepted: str, coding: str | None) -> None:
    assert preferred(accepted) == coding


@CODING
def test_an_answer_is_packed(coding: str) -> None:
    for body in (TEXT, TEXT * 500, NOISE + TEXT * 5):
        small = packed(body, coding)
        assert small
        assert len(small) < len(body)
        assert b"".join(unpacked(small, coding)) == body


@CODING
@pytest.mark.parametrize("body", [b"", TEXT[:2000], NOISE, TEXT + NOISE], ids=["none", "few", "noise", "mostly noise"])
def test_an_answer_that_gains_nothing_is_left_as_it_is(coding: str, body: bytes) -> None:
    assert packed(body, coding) is None
