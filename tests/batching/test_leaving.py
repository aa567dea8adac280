"""Callers of a batcher who leave, or whose time is over: the model is spared them, and nobody else notices."""

import asyncio

import pytest

from service.errors import DeadlineExceeded, ModelFailed
from service.types import Tensors
from tests.puppet import double, numbers, stage, turns

pytestmark = pytest.mark.anyio


async def test_a_caller_who_leaves_while_waiting_is_never_computed_and_his_neighbours_are() -> None:
    async with stage() as scene:
        await scene.occupy()
        before, leaver, after = (scene.submit(double(number)) for number in (1, 2, 3))
        await turns()
        leaver.cancel()
        await turns()
        assert scene.batcher.queue_rows == 2
        scene.puppet.go()
        assert await scene.puppet.begun_rows() == [1, 3]
        scene.puppet.go()
        assert [numbers(answer) for answer in await asyncio.gather(before, after)] == [[2], [6]]
        assert leaver.cancelled()


async def test_a_caller_who_leaves_in_the_very_turn_that_a_batch_is_formed_is_not_in_it() -> None:
    async with stage() as scene:
        leaver, stayer = scene.submit(double(1)), scene.submit(double(2))
        await turns(2)
        assert scene.batcher.queue_rows == 2
        leaver.cancel()  # his task hears of it a turn later
        assert await scene.puppet.begun_rows() == [2]
        scene.puppet.go()
        assert numbers(await stayer) == [4]


async def test_a_caller_who_leaves_while_he_is_computed_does_not_touch_his_neighbours() -> None:
    async with stage() as scene:
        stayer, leaver = scene.submit(double(1)), scene.submit(double(2))
        assert await scene.puppet.begun_rows() == [1, 2]
        leaver.cancel()
        await turns()
        scene.puppet.go()
        assert numbers(await stayer) == [2]


async def test_of_a_large_call_whose_caller_leaves_the_parts_that_wait_are_not_computed() -> None:
    async with stage(max_batch_rows=2) as scene:
        large = scene.submit(double(1, 2, 3, 4, 5))
        assert await scene.puppet.begun_rows() == [1, 2]
        assert scene.batcher.queue_rows == 3
        large.cancel()
        await turns()
        assert scene.batcher.queue_rows == 0
        scene.submit(double(6))
        scene.puppet.go()
        assert await scene.puppet.begun_rows() == [6]


async def test_of_a_large_call_that_fails_the_parts_that_wait_are_not_computed() -> None:
    def fail(_: Tensors) -> Tensors:
        raise ValueError

    async with stage(max_batch_rows=2) as scene:
        large = scene.submit(double(1, 2, 3, 4, 5))
        scene.puppet.go(fail)
        with pytest.raises(ModelFailed):
            await large
        assert scene.batcher.queue_rows == 0
        scene.puppet.free()
        await scene.submit(double(6))
        assert len(scene.puppet.runs) <= 3


async def test_a_deadline_that_passes_in_the_queue_spares_the_model_the_call() -> None:
    async with stage() as scene:
        await scene.occupy()
        late, patient = scene.submit(double(1), seconds=0.01), scene.submit(double(2))
        with pytest.raises(DeadlineExceeded):
            await late
        assert scene.batcher.queue_rows == 1
        scene.puppet.go()
        assert await scene.puppet.begun_rows() == [2]
        scene.puppet.go()
        assert numbers(await patient) == [4]


async def test_a_deadline_that_is_over_when_the_batch_is_formed_counts_although_its_timer_has_not_fired() -> None:
    async with stage() as scene:
        await scene.occupy()
        late, patient = scene.submit(double(1), seconds=0.1), scene.submit(double(2))
        await turns()
        scene.clock.now += 1.0  # as if the loop had been held up
        scene.puppet.go()
        assert await scene.puppet.begun_rows() == [2]
        with pytest.raises(DeadlineExceeded):
            await late
        scene.puppet.go()
        assert numbers(await patient) == [4]


async def test_a_deadline_that_passes_while_the_model_computes_ends_that_call_alone() -> None:
    async with stage() as scene:
        late, patient = scene.submit(double(1), seconds=0.5), scene.submit(double(2))
        assert await scene.puppet.begun_rows() == [1, 2]
        with pytest.raises(DeadlineExceeded, match="before the model had answered"):
            await late
        scene.puppet.go()
        assert numbers(await patient) == [4]


async def test_a_deadline_in_the_past_does_not_reach_the_model() -> None:
    async with stage() as scene:
        with pytest.raises(DeadlineExceeded):
            await scene.submit(double(1), seconds=-1.0)
        assert (scene.batcher.queue_rows, scene.puppet.runs) == (0, [])


async def test_behind_a_model_that_hangs_callers_come_and_go_and_nothing_piles_up() -> None:
    async with stage(max_queue_rows=4) as scene:
        await scene.occupy()
        for _ in range(3):
            callers = [scene.submit(double(number), seconds=0.01) for number in range(4)]
            outcomes = await asyncio.gather(*callers, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded] * 4
            assert scene.batcher.queue_rows == 0
        scene.clock.now += 61.0
        assert scene.batcher.running_for == pytest.approx(61.0)
        scene.puppet.free()
        assert numbers(await scene.submit(double(7))) == [14]
        assert scene.batcher.running_for == 0.0
        assert len(scene.puppet.runs) == 2
