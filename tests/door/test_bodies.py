"""service/door/bodies.py: how much of a body is read and unpacked, and how much room it takes meanwhile."""

import asyncio
import gzip
import threading
from collections.abc import Iterable

import pytest
from starlette.types import Message

from service.door.bodies import Body, CallerGone, Room, aside
from service.errors import InvalidRequest, Overloaded, TooLarge

pytestmark = pytest.mark.anyio

MEGABYTE = 1 << 20


class Sender:
    """Sends pieces of a body; counts those that were asked for."""

    def __init__(self, pieces: Iterable[bytes], *, leaves: bool = False) -> None:
        *some, last = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        last = {"type": "http.disconnect"} if leaves else last | {"more_body": False}
        self.messages: list[Message] = [*some, last]
        self.asked = 0

    async def __call__(self) -> Message:
        self.asked += 1
        return self.messages[self.asked - 1]


def body(room: Room, *, longest: int = 10, declared: int = 0, coding: str | None = None) -> Body:
    return Body(room, longest=longest, declared=declared, coding=coding)


async def test_a_body_has_room_as_long_as_it_is_in_flight() -> None:
    room = Room(100)
    with body(room, declared=4) as first:
        assert room.taken == 4
        assert (await first.whole(Sender([b"ab", b"cd", b"e"])))["body"] == b"abcde"
        assert (room.taken, first.complete) == (5, True)
    assert room.taken == 0


def test_a_body_declared_too_long_takes_no_room() -> None:
    room = Room(100)
    with pytest.raises(TooLarge, match="longer than 10 bytes"):
        body(room, declared=11)
    assert room.taken == 0


async def test_a_body_is_read_no_further_than_it_may_be_long() -> None:
    room, sender = Room(100), Sender([b"123456"] * 5)
    with pytest.raises(TooLarge), body(room) as long:
        await long.whole(sender)
    assert (sender.asked, room.taken) == (2, 0)


async def test_there_are_so_many_places_in_a_room_whatever_the_bodies() -> None:
    room = Room(100, places=1)
    with body(room):
        assert room.places_taken == 1
        with pytest.raises(Overloaded, match="1 requests are in flight"), body(room):
            pass
    with body(room):
        pass
    assert (room.places_taken, room.taken) == (0, 0)


async def test_all_bodies_share_one_room() -> None:
    room = Room(12, places=3)
    with body(room, declared=8):
        with pytest.raises(Overloaded, match="the 12 bytes"), body(room, declared=8):
            pytest.fail("there is no room")
        with pytest.raises(Overloaded), body(room) as undeclared:
            await undeclared.whole(Sender([b"123", b"45"]))
        assert room.taken == 8
    assert room.taken == 0


async def test_a_caller_who_leaves_gives_his_room_back() -> None:
    room = Room(100)
    with pytest.raises(CallerGone), body(room, declared=9) as left:
        await left.whole(Sender([b"1234", b""], leaves=True))
    assert room.taken == 0
    assert not left.complete


async def test_a_packed_body_takes_the_room_of_what_comes_out_too() -> None:
    room, packed = Room(10 * MEGABYTE), gzip.compress(bytes(MEGABYTE))
    with body(room, longest=MEGABYTE, declared=len(packed), coding="gzip") as unpacked:
        assert (await unpacked.whole(Sender([packed[:99], packed[99:]])))["body"] == bytes(MEGABYTE)
        assert room.taken == len(packed) + MEGABYTE
    assert room.taken == 0


async def test_a_bomb_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(bytes(20 * MEGABYTE), 9)
    room = Room(len(bomb) + MEGABYTE)  # which a byte more than the limit would overfill
    with (
        pytest.raises(TooLarge, match="bytes"),
        body(room, longest=MEGABYTE, declared=len(bomb), coding="gzip") as packed,
    ):
        await packed.whole(Sender([bomb]))
    assert room.taken == 0


async def test_a_bomb_finds_no_room_to_unpack() -> None:
    room, bomb = Room(MEGABYTE), gzip.compress(bytes(20 * MEGABYTE), 9)
    with pytest.raises(Overloaded), body(room, longest=100 * MEGABYTE, coding="gzip") as packed:
        await packed.whole(Sender([bomb]))
    assert room.taken == 0


@pytest.mark.parametrize("content", [b"", b"garbage", gzip.compress(b"12345")[:-3], gzip.compress(b"12345") + b"1"])
async def test_what_cannot_be_unpacked_is_refused(content: bytes) -> None:
    room = Room(1000)
    with pytest.raises(InvalidRequest), body(room, longest=100, coding="gzip") as broken:
        await broken.whole(Sender([content]))
    assert room.taken == 0


async def test_much_work_is_done_in_a_thread_and_little_at_once() -> None:
    here = threading.get_ident()
    assert await aside(1, threading.get_ident) == here
    assert await aside(MEGABYTE, threading.get_ident) != here


@pytest.mark.parametrize("nothing", [False, True])
async def test_the_loop_goes_on_while_much_is_unpacked(nothing: bool) -> None:
    """Much of what is sent, or of what comes out."""
    packed = gzip.compress(b"" if nothing else bytes(50 * MEGABYTE))
    if nothing:
        packed = packed[:10] + b"\0\0\0\xff\xff" * (10 * MEGABYTE) + packed[10:]  # empty blocks
    turns = 0
    with body(Room(200 * MEGABYTE), longest=100 * MEGABYTE, coding="gzip") as large:
        reading = asyncio.create_task(large.whole(Sender([packed])))
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
    assert turns > 50 * MEGABYTE // (256 << 10), "at least once a piece"
