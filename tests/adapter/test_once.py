"""The short memory."""

import asyncio

import pytest

from service.adapter.once import Once

pytestmark = pytest.mark.anyio


class Maker:
    """Makes 1, 2, 3, …"""

    def __init__(self) -> None:
        self.made = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> int:
        self.made += 1
        made = self.made
        await self.go.wait()
        return made


async def test_a_result_is_used_again_until_its_time_is_over() -> None:
    once, make = Once[str, int](ttl=0.1, limit=9), Maker()
    assert [await once.get("a", make), await once.get("a", make), await once.get("b", make)] == [1, 1, 2]
    async with asyncio.timeout(10):
        while True:
            await asyncio.sleep(0.01)
            if await once.get("a", make) == 3:
                break


async def test_who_asks_meanwhile_gets_the_same_and_may_leave() -> None:
    once, make = Once[str, int](ttl=60, limit=9), Maker()
    make.go.clear()
    first, second = (asyncio.create_task(once.get("a", make)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    make.go.set()
    assert (await second, make.made, first.cancelled()) == (1, 1, True)


async def test_a_failure_reaches_who_waits_and_is_forgotten() -> None:
    once = Once[str, int](ttl=60, limit=9)

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    results = await asyncio.gather(*(once.get("a", fail) for _ in range(2)), return_exceptions=True)
    assert [str(result) for result in results] == ["no", "no"]
    assert await once.get("a", Maker()) == 1


async def test_the_oldest_gives_way_where_there_are_too_many() -> None:
    once, make = Once[int, int](ttl=60, limit=2), Maker()
    assert [await once.get(key, make) for key in (1, 2, 3, 2, 3, 1)] == [1, 2, 3, 2, 3, 4]
