"""Calls that a batcher refuses at once: for them there is no room, no time, or no model that answers."""

import asyncio

import pytest

from service.errors import NotReady, Overloaded
from tests.puppet import Stage, double, numbers, stage, turns

pytestmark = pytest.mark.anyio


async def compute(scene: Stage, rows: int, seconds: float) -> None:
    """Have a batch computed that takes so long."""
    call = scene.submit(double(*range(rows)))
    await scene.puppet.begun()
    scene.clock.now += seconds
    scene.puppet.go()
    await call


async def crowd(scene: Stage) -> "list[asyncio.Task[object]]":
    """Have the model compute a batch for half its time of 100 s, with two more in line that are full."""
    await compute(scene, 4, 100.0)
    await scene.occupy()
    calls = [scene.submit(double(*range(4))) for _ in range(2)]
    await turns()
    scene.clock.now += 50.0
    return list(calls)


async def test_who_could_not_be_answered_in_time_is_told_at_once_and_when_to_come_back() -> None:
    async with stage() as scene:
        await crowd(scene)
        with pytest.raises(Overloaded, match=r"the wait would be 250\.0 s") as caught:
            await scene.submit(double(9), seconds=150 + 200)
        assert caught.value.retry_after == 250
        patient = scene.submit(double(9), seconds=150 + 300)
        scene.puppet.free()
        assert numbers(await patient) == [18]


async def test_who_fits_into_the_next_batch_is_never_refused_however_slow_the_model_was() -> None:
    async with stage() as scene:
        await compute(scene, 4, 400.0)
        await scene.occupy()
        calls = [scene.submit(double(number), seconds=400 + 100) for number in range(4)]
        await turns()
        scene.puppet.free()
        assert [numbers(answer) for answer in await asyncio.gather(*calls)] == [[0], [2], [4], [6]]


async def test_in_an_overload_that_lasts_calls_beyond_the_next_batch_are_refused() -> None:
    async with stage(max_queue_rows=64, overload_wait=120.0) as scene:
        await crowd(scene)
        scene.puppet.go()
        await scene.puppet.begun()
        welcome = scene.submit(double(1))
        await turns()
        assert not welcome.done(), "it may be a burst"
        scene.clock.now += 90.0
        scene.puppet.go()
        await scene.puppet.begun()
        scene.submit(double(1, 2, 3))
        await turns()
        scene.clock.now += 10.0
        with pytest.raises(Overloaded, match="the wait would be"):
            await scene.submit(double(1))
        scene.clock.now += 60.0
        almost = scene.submit(double(1))
        await turns()
        assert not almost.done(), "there is a batch before it, but not for long"


async def test_priority_waits_only_for_its_like_and_has_a_batch_of_room_for_itself() -> None:
    async with stage(max_queue_rows=8, max_queue_bytes=32) as scene:
        await compute(scene, 4, 100.0)
        await scene.occupy()
        for _ in range(2):
            scene.submit(double(*range(4)))
        await turns()
        with pytest.raises(Overloaded, match="8 rows wait"):
            await scene.submit(double(9))
        urgent = [scene.submit(double(number, priority=1), seconds=100 + 50) for number in (5, 6, 7, 8)]
        await turns()
        with pytest.raises(Overloaded, match="12 rows wait"):
            await scene.submit(double(9, priority=1))
        scene.puppet.go()
        assert await scene.puppet.begun_rows() == [5, 6, 7, 8]
        scene.puppet.free()
        assert [numbers(answer) for answer in await asyncio.gather(*urgent)] == [[10], [12], [14], [16]]


async def test_a_model_that_does_not_answer_is_asked_no_more_and_all_who_wait_are_told() -> None:
    async with stage(stuck_after=0.05) as scene:
        computed = await scene.occupy()
        waiting = scene.submit(double(1))
        with pytest.raises(NotReady, match="the model does not answer") as caught:
            await waiting
        assert caught.value.retry_after
        with pytest.raises(NotReady):
            await scene.submit(double(2))
        assert (scene.batcher.queue_rows, len(scene.puppet.runs)) == (0, 1)
        scene.puppet.go()
        assert numbers(await computed) == [0], "he would have had the time"
        scene.puppet.go()
        assert numbers(await scene.submit(double(3))) == [6], "it answers again"


async def test_the_pieces_of_a_large_call_end_with_it_when_the_model_does_not_answer() -> None:
    async with stage(max_batch_rows=2, stuck_after=0.05) as scene:
        await scene.occupy()
        with pytest.raises(NotReady):
            await scene.submit(double(1, 2, 3, 4, 5))
        assert (scene.batcher.queue_rows, scene.batcher.queue_bytes) == (0, 0)


async def test_whether_there_is_room_can_be_asked_before_a_call_is_made() -> None:
    async with stage(max_queue_rows=4) as scene:
        scene.batcher.check(0, scene.clock.now + 1.0)
        await scene.occupy()
        scene.batcher.check(0, scene.clock.now + 1.0)
        scene.submit(double(*range(4)))
        await turns()
        with pytest.raises(Overloaded, match="4 rows wait"):
            scene.batcher.check(0, scene.clock.now + 1.0)
        scene.batcher.check(1, scene.clock.now + 1.0)
        scene.puppet.free()
