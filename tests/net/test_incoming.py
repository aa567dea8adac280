"""A call's message, whole or broken, packed or not, in any pieces."""

import gzip
import zlib
from collections.abc import Callable

import pytest

from service.errors import InvalidRequest, NotSupported
from service.net.incoming import Incoming
from tests.frames import message

PACK: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"deflate": zlib.compress}


def all_of(sent: bytes, encoding: bytes = b"identity", step: int = 1 << 30) -> bytes:
    """Return what is handed out of what is sent in pieces of that size."""
    incoming, parts, start = Incoming(encoding), bytearray(), 0
    while True:
        if (found := incoming.piece()) is None:
            incoming.arrived += sent[start : start + step]
            start += step
            incoming.whole = start >= len(sent)
        else:
            parts += found[0]
            if not found[1]:
                return bytes(parts)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("data", [b"", b"a", b"some message " * 9])
def test_a_message_is_the_same_in_all_pieces(data: bytes, step: int) -> None:
    assert all_of(message(data), step=step) == data
    for encoding, pack in PACK.items():
        assert all_of(message(pack(data), packed=True), encoding, step) == data


@pytest.mark.parametrize("encoding", [*PACK, b"snappy", b""])
def test_a_message_may_be_unpacked_whatever_the_call_is_packed_in(encoding: bytes) -> None:
    assert all_of(message(b"data"), encoding) == b"data"


@pytest.mark.parametrize("encoding", [b"snappy", b"identity", b"", b"\xff" * 1000])
def test_a_message_packed_in_an_unknown_way_is_not_supported(encoding: bytes) -> None:
    with pytest.raises(NotSupported) as error:
        all_of(message(b"data", packed=True), encoding)
    assert len(str(error.value)) < 120


@pytest.mark.parametrize("pack", PACK.values())
@pytest.mark.parametrize("around", [1 << 16, 1 << 17, 3 << 16])
def test_no_byte_of_a_packed_message_is_lost_at_the_end_of_a_step(pack: Callable[[bytes], bytes], around: int) -> None:
    for size in range(around - 300, around + 600, 7):
        assert all_of(message(pack(b"\0" * size), packed=True), b"gzip") == b"\0" * size, size


def test_no_message_is_an_empty_one() -> None:
    assert all_of(b"") == b""


def test_a_second_message_is_not_looked_at() -> None:
    assert all_of(message(b"one") + message(b"two")) == b"one"


@pytest.mark.parametrize("sent", [b"\0", b"\0\0\0\0", message(b"data")[:-1], message(b"data")[:5]])
@pytest.mark.parametrize("step", [1, 100])
def test_a_message_that_is_cut_off_is_refused(sent: bytes, step: int) -> None:
    with pytest.raises(InvalidRequest, match="cut off"):
        all_of(sent, step=step)


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (b"", "its end is missing"),
        (zlib.compress(b"data" * 99)[:-1], "its end is missing"),
        (gzip.compress(b"data")[:-8], "its end is missing"),
        (zlib.compress(b"data") + b"x", "goes on after its end"),
        (gzip.compress(b"data") * 2, "goes on after its end"),
        (b"no zlib", "incorrect header"),
        (gzip.compress(b"data")[:-1] + b"x", "incorrect"),
    ],
)
@pytest.mark.parametrize("step", [1, 100])
def test_a_packed_message_that_is_broken_is_refused(packed: bytes, text: str, step: int) -> None:
    with pytest.raises(InvalidRequest, match=text):
        all_of(message(packed, packed=True), b"gzip", step)


def test_a_packed_message_that_is_cut_off_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="cut off"):
        all_of(message(zlib.compress(b"data" * 99), packed=True)[:-1], b"gzip")


def test_what_comes_behind_the_end_of_what_is_packed_is_not_kept() -> None:
    """However much is announced to come."""
    incoming = Incoming(b"gzip")
    incoming.arrived += b"\1\xff\xff\xff\xff" + gzip.compress(b"data")
    with pytest.raises(InvalidRequest):
        incoming.piece()


def test_a_bomb_is_unpacked_no_further_than_it_is_asked_for() -> None:
    incoming = Incoming(b"gzip")
    incoming.arrived += message(zlib.compress(b"\0" * (64 << 20), 9), packed=True)
    for _ in range(10):
        found = incoming.piece()
        assert found
        assert 0 < len(found[0]) <= 64 << 10
        assert found[1]
