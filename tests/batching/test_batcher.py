"""Who shares a batch with whom, who has to wait or to leave, and that each caller gets his own rows."""

import asyncio
import random
from collections.abc import Iterator

import numpy as np
import pytest

from service.errors import DeadlineExceeded, Overloaded, TooLarge
from service.types import Call
from tests.puppet import Stage, double, expected, numbers, pair, stage, turns

pytestmark = pytest.mark.anyio


async def test_a_lone_call_does_not_wait_for_company() -> None:
    async with stage() as scene:
        answer = scene.submit(double(21))
        await turns(3)  # of which one starts the task, and no time has to pass
        assert scene.batcher.queue_rows == 0
        assert await scene.puppet.begun_rows() == [21]
        scene.puppet.go()
        assert numbers(await answer) == [42]


async def test_calls_that_arrive_while_the_model_computes_share_the_next_batch_in_their_order() -> None:
    async with stage() as scene:
        first = await scene.occupy()
        others = [scene.submit(double(number)) for number in (1, 2, 3)]
        await turns()
        assert scene.batcher.queue_rows == 3
        scene.puppet.go()
        assert await scene.puppet.begun_rows() == [1, 2, 3]
        scene.puppet.go()
        assert [numbers(answer) for answer in await asyncio.gather(first, *others)] == [[0], [2], [4], [6]]


async def test_a_batch_waits_while_every_turn_of_the_loop_brings_more_calls_but_not_for_ever() -> None:
    async with stage(max_batch_rows=200, max_queue_rows=400) as scene:
        scene.submit(double(0))
        for number in range(1, 100):
            await turns(1)
            scene.submit(double(number))
        rows = await scene.puppet.begun_rows()
        assert rows == list(range(len(rows)))
        assert 4 < len(rows) < 40


async def test_a_slow_model_is_not_kept_waiting_for_more() -> None:
    async with stage(max_batch_rows=200, max_queue_rows=400) as scene:
        slow = await scene.occupy()
        scene.clock.now += 0.1
        scene.puppet.go()
        await slow
        for number in range(1, 20):
            scene.submit(double(number))
            await turns(1)
        assert len(await scene.puppet.begun_rows()) < 4


async def test_a_full_batch_begins_before_the_answers_of_the_last_are_read() -> None:
    async with stage(max_batch_rows=2) as scene:
        first = await scene.occupy()
        for number in (1, 2):
            scene.submit(double(number))
        await turns()
        waiting: list[int] = []
        first.add_done_callback(lambda _: waiting.append(scene.batcher.queue_rows))
        scene.puppet.go()
        await first
        assert await scene.puppet.begun_rows() == [1, 2]
        assert waiting == [0]


async def test_a_batch_takes_no_more_than_its_rows_and_lets_nobody_overtake() -> None:
    async with stage(max_batch_rows=4) as scene:
        await scene.occupy()
        for call in (double(1, 2), double(3), double(4, 5), double(6)):
            scene.submit(call)
        await turns()
        scene.puppet.go()
        assert await scene.puppet.begun_rows() == [1, 2, 3]
        scene.puppet.go()
        assert await scene.puppet.begun_rows() == [4, 5, 6]


async def test_without_batching_every_call_is_computed_as_it_came() -> None:
    async with stage(max_batch_rows=2, enabled=False) as scene:
        await scene.occupy()
        answers = [scene.submit(call) for call in (double(1, 2, 3), double(4), double(5))]
        await turns()
        for rows in ([1, 2, 3], [4], [5]):
            scene.puppet.go()
            assert await scene.puppet.begun_rows() == rows
        scene.puppet.go()
        assert [numbers(answer) for answer in await asyncio.gather(*answers)] == [[2, 4, 6], [8], [10]]
        assert scene.batcher.queue_rows == 0


async def test_other_shapes_and_signatures_have_batches_of_their_own_and_the_oldest_goes_first() -> None:
    async with stage() as scene:
        await scene.occupy()
        ones = np.ones((1, 1), np.float32)
        calls = [
            *(double(1), double(2, width=2), Call("both", {"a": ones, "b": ones}), double(3)),
            *(double(4, width=2), Call("negate", {"x": ones})),
        ]
        answers = [scene.submit(call) for call in calls]
        await turns()
        scene.puppet.free()
        assert [expected(call.signature, call.inputs).keys() for call in calls] == [(await a).keys() for a in answers]
        assert [(name, inputs[min(inputs)].shape) for name, inputs in scene.puppet.runs[1:]] == [
            ("double", (2, 1)),
            ("double", (2, 2)),
            ("both", (1, 1)),
            ("negate", (1, 1)),
        ]


async def test_a_busy_shape_does_not_keep_the_others_waiting() -> None:
    async with stage(max_batch_rows=2) as scene:
        await scene.occupy()
        for number in (1, 2, 3):
            scene.submit(double(number))
        scene.submit(double(9, width=2))
        for number in (4, 5):
            scene.submit(double(number))
        await turns()
        order = []
        for _ in range(4):
            scene.puppet.go()
            order.append(await scene.puppet.begun_rows())
        assert order == [[1, 2], [3, 4], [9], [5]]


async def test_who_asks_again_a_turn_after_the_first_shares_his_batch() -> None:
    async def ask(scene: Stage, number: float, slowness: int) -> None:
        for round_number in range(3):
            await scene.submit(double(number + round_number))
            await turns(slowness)

    async with stage() as scene:
        await scene.occupy()
        for number, slowness in ((10, 1), (20, 2), (30, 2)):
            scene.spawn(ask(scene, number, slowness))
        await turns()
        for round_number in range(3):
            scene.puppet.go()
            rows = await scene.puppet.begun_rows()
            assert rows == [number + round_number for number in (10, 20, 30)]


async def test_a_signature_without_a_free_first_dimension_is_run_call_by_call() -> None:
    async with stage() as scene:
        await scene.occupy()
        answers = [scene.submit(pair(number, -number)) for number in (1, 2)]
        await turns()
        assert scene.batcher.queue_rows == 2
        scene.puppet.free()
        assert [numbers(answer) for answer in await asyncio.gather(*answers)] == [[2, -2], [4, -4]]
        assert [inputs["x"].shape for _, inputs in scene.puppet.runs[1:]] == [(2,), (2,)]


async def test_a_call_larger_than_a_batch_is_computed_in_pieces_between_which_others_have_their_turn() -> None:
    async with stage(max_batch_rows=4) as scene:
        await scene.occupy()
        large, *others = (scene.submit(double(*rows)) for rows in (range(1, 11), [11], [12, 13]))
        await turns()
        assert scene.batcher.queue_rows == 13
        runs = []
        for _ in range(4):
            scene.puppet.go()
            runs.append(await scene.puppet.begun_rows())
        scene.puppet.go()
        assert runs == [[1, 2, 3, 4], [11, 12, 13], [5, 6, 7, 8], [9, 10]]
        assert numbers(await large) == [2 * row for row in range(1, 11)]
        assert [numbers(await other) for other in others] == [[22], [24, 26]]


async def test_the_last_piece_of_a_large_call_has_room_for_others() -> None:
    async with stage(max_batch_rows=4) as scene:
        scene.submit(double(1, 2, 3, 4, 5))
        assert await scene.puppet.begun_rows() == [1, 2, 3, 4]
        scene.submit(double(6))
        await turns()
        scene.puppet.go()
        assert await scene.puppet.begun_rows() == [6, 5]


async def test_a_call_larger_than_the_queue_is_too_large_however_idle_the_model_is() -> None:
    async with stage(max_queue_rows=8) as scene:
        with pytest.raises(TooLarge, match="9 rows in one request; at most 8"):
            await scene.submit(double(*range(9)))
        scene.puppet.free()
        assert len(numbers(await scene.submit(double(*range(8))))) == 8


async def test_a_full_queue_refuses_at_once_and_nothing_of_the_refused_call_stays() -> None:
    async with stage(max_queue_rows=4) as scene:
        await scene.occupy()
        waiting = scene.submit(double(1, 2, 3))
        await turns()
        with pytest.raises(Overloaded, match="3 rows wait") as caught:
            await scene.submit(double(4, 5))
        assert caught.value.retry_after == 1
        fits = scene.submit(double(6))
        await turns()
        assert scene.batcher.queue_rows == 4
        scene.puppet.free()
        assert (numbers(await waiting), numbers(await fits)) == ([2, 4, 6], [12])
        assert len(scene.puppet.runs) == 2


async def test_the_metrics_tell_rows_and_waits_and_how_busy_the_model_is() -> None:
    async with stage() as scene:
        first = await scene.occupy()
        others = [scene.submit(double(1, 2)), scene.submit(double(3))]
        await turns()
        scene.clock.now += 1.5
        assert scene.batcher.busy_percent() == pytest.approx(10.0)
        scene.puppet.go()
        await first
        await scene.puppet.begun()
        scene.clock.now += 0.25
        scene.puppet.go()
        await asyncio.gather(*others)
        assert scene.batcher.busy_percent() == pytest.approx(100 * 1.75 / 15)
        sums = {(name, "sum"): scene.registry.get_sample_value(f"tfpod_{name}_sum", {"model": "m"}) for name in NAMES}
        counts = {(name, "n"): scene.registry.get_sample_value(f"tfpod_{name}_count", {"model": "m"}) for name in NAMES}
        assert sums | counts == {
            ("queue_seconds", "sum"): pytest.approx(3.0),  # two calls that waited for the first
            ("queue_seconds", "n"): 3.0,
            ("batch_rows", "sum"): 4.0,
            ("batch_rows", "n"): 2.0,
            ("model_seconds", "sum"): pytest.approx(1.75),
            ("model_seconds", "n"): 2.0,
        }


NAMES = ("queue_seconds", "batch_rows", "model_seconds")


@pytest.mark.parametrize("seed", range(12))
async def test_each_caller_gets_his_own_rows_and_the_queue_is_empty_at_the_end(seed: int) -> None:
    """Random calls in random company; some leave at a random moment, some have next to no time, some find it full."""
    dice = random.Random(seed)
    async with stage(max_batch_rows=dice.randint(1, 8), max_queue_rows=128, at_once=dice.randint(1, 2)) as scene:
        callers, excused = [], set()
        for number, call in enumerate(_random_calls(dice, 60)):
            seconds = dice.choice([600.0, 600.0, 600.0, 0.002])
            callers.append((call, scene.submit(call, seconds)))
            if seconds < 1:
                excused.add(number)
            if dice.random() < 0.1:
                excused.add(leaver := dice.randint(0, number))
                callers[leaver][1].cancel()
            if dice.random() < 0.3:
                await turns(dice.randint(1, 3))
            if dice.random() < 0.3:
                scene.puppet.go()
        await turns()
        scene.puppet.free()
        outcomes = await asyncio.gather(*(task for _, task in callers), return_exceptions=True)
        for number, (call, _) in enumerate(callers):
            outcome = outcomes[number]
            if isinstance(outcome, BaseException):
                excuses = (Overloaded, DeadlineExceeded, asyncio.CancelledError) if number in excused else Overloaded
                assert isinstance(outcome, excuses)
                continue
            for name, array in expected(call.signature, call.inputs).items():
                np.testing.assert_array_equal(outcome[name], array)
        assert isinstance(outcomes[min(set(range(60)) - excused)], dict)
        assert scene.batcher.queue_rows == 0


def _random_calls(dice: random.Random, count: int) -> Iterator[Call]:
    """Make calls no two of which have a number in common."""
    for number in range(count):
        name, rows, width = dice.choice(["double", "negate", "both", "pair"]), dice.randint(1, 9), dice.randint(1, 2)
        shape = (2,) if name == "pair" else (rows, width)
        array = (np.arange(np.prod(shape)) + 100 * number).reshape(shape).astype(np.float32)
        yield Call(name, {"a": array, "b": array / 2} if name == "both" else {"x": array})
