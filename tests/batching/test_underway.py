"""Batches that are computed two at once."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextvars import Context

import pytest

from service.batching.underway import UnderWay
from service.batching.worker import Run
from service.errors import NotReady
from service.types import Tensors
from tests.clock import Clock
from tests.puppet import Stage, Step, double, expected, numbers, stage, turns

pytestmark = pytest.mark.anyio


@pytest.fixture
async def scene() -> AsyncIterator[Stage]:
    """A batcher that gives each call to the model by itself, and two at once."""
    async with stage(alone=frozenset({"double"}), at_once=2, stuck_after=5.0) as made:
        yield made


def held(number: float, until: threading.Event) -> Step:
    """Return a step that holds the run on this number."""

    def step(inputs: Tensors) -> Tensors:
        if inputs["x"][0, 0] == number:
            assert until.wait(60)
        return expected("double", inputs)

    return step


async def test_a_call_is_computed_beside_another_only_while_a_third_waits(scene: Stage) -> None:
    calls = [scene.submit(double(1))]
    assert await scene.puppet.begun_rows() == [1]
    calls.append(scene.submit(double(2)))
    await turns()
    assert (len(scene.puppet.runs), scene.batcher.queue_rows) == (1, 1), "alone it would be sooner"
    calls += [scene.submit(double(number)) for number in (3, 4)]
    assert await scene.puppet.begun_rows() == [2]
    await turns()
    assert (len(scene.puppet.runs), scene.batcher.queue_rows) == (2, 2)
    scene.puppet.free()
    assert [numbers(answer) for answer in await asyncio.gather(*calls)] == [[2], [4], [6], [8]]


async def test_one_that_takes_long_keeps_only_its_own_caller_waiting(scene: Stage) -> None:
    free = threading.Event()
    for _ in range(5):
        scene.puppet.go(held(1, free))
    slow, *others = [scene.submit(double(number)) for number in (1, 2, 3, 4, 5)]
    assert [numbers(answer) for answer in await asyncio.gather(*others[:3])] == [[4], [6], [8]]
    assert not slow.done()
    free.set()
    assert [numbers(await call) for call in (slow, others[3])] == [[2], [10]]


async def test_while_one_of_two_does_not_answer_nobody_new_is_let_in(caplog: pytest.LogCaptureFixture) -> None:
    """Not even when the other does: who hangs once hangs again, and then both threads are gone."""
    async with stage(alone=frozenset({"double"}), at_once=2, stuck_after=0.2) as scene:
        hangs, slow = threading.Event(), threading.Event()
        scene.puppet.go(held(1, hangs))
        first = scene.submit(double(1))
        await scene.puppet.begun()
        scene.puppet.go(held(2, slow))
        second, third = (scene.submit(double(number)) for number in (2, 3))
        with pytest.raises(NotReady):
            await third
        scene.clock.now += 1.0
        slow.set()
        assert numbers(await second) == [4]
        with pytest.raises(NotReady):
            await scene.submit(double(4))
        hangs.set()
        assert numbers(await first) == [2]
        again = [vars(record) for record in caplog.records if record.message == "the model answers again"]
        assert [record["seconds"] for record in again] == [1.0]
        scene.puppet.free()
        assert numbers(await scene.submit(double(5))) == [10]


async def test_time_in_which_two_are_computed_counts_once() -> None:
    under_way = UnderWay(Clock(0.0), 1.0, lambda: None, Context())
    runs = [Run(1, 0, begun, seconds, failed=False) for begun, seconds in ((10, 4), (12, 4), (20, 1), (19, 3))]
    assert [under_way.count(run) for run in runs] == [4, 2, 1, 1]
