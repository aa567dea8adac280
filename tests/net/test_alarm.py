"""service/net/alarm.py: it rings when it was last told to, whatever it was told before."""

import asyncio

import pytest

from service.net.alarm import Alarm

pytestmark = pytest.mark.anyio


class Bell:
    """Notes when it rang, in seconds since it was made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self.rang: list[float] = []
        self.alarm = Alarm(self._loop, self.ring)
        self._next = asyncio.Event()

    def ring(self) -> None:
        self.rang.append(self._loop.time() - self._begun)
        self._next.set()

    async def wait(self) -> None:
        await self._next.wait()
        self._next.clear()


async def test_it_rings_once_and_can_be_set_again() -> None:
    bell = Bell()
    for times in (1, 2):
        bell.alarm.set(0.01)
        assert bell.alarm.is_set
        await bell.wait()
        assert not bell.alarm.is_set
        assert len(bell.rang) == times


async def test_a_later_time_takes_the_place_of_an_earlier_one() -> None:
    bell = Bell()
    bell.alarm.set(0.01)
    bell.alarm.set(0.1)
    await bell.wait()
    assert bell.rang[0] >= 0.09


async def test_an_earlier_time_takes_the_place_of_a_later_one() -> None:
    bell = Bell()
    bell.alarm.set(3600)
    bell.alarm.set(0.01)
    async with asyncio.timeout(60):
        await bell.wait()


@pytest.mark.parametrize("end", [Alarm.unset, Alarm.close])
async def test_unset_it_does_not_ring(end: object) -> None:
    bell, other = Bell(), Bell()
    bell.alarm.set(0.01)
    assert callable(end)
    end(bell.alarm)
    other.alarm.set(0.05)
    await other.wait()
    assert not bell.rang
    assert not bell.alarm.is_set


async def test_unset_and_set_again_it_rings() -> None:
    bell = Bell()
    bell.alarm.set(0.01)
    bell.alarm.unset()
    await asyncio.sleep(0.03)
    bell.alarm.set(0.01)
    await bell.wait()
    assert len(bell.rang) == 1
