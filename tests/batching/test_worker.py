"""What a model can do to its callers: a failure hits the offender alone, and nothing silences the thread."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.errors import InvalidRequest, ModelFailed, PodError, TooLarge
from service.types import Call, Tensors
from tests.puppet import double, expected, numbers, pair, stage, turns

pytestmark = pytest.mark.anyio


class Unspeakable(Exception):
    """An error that cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError


def refuse(number: float, error: BaseException) -> Callable[[Tensors], Tensors]:
    """Return what a model does that raises for a batch with this number in it."""

    def step(inputs: Tensors) -> Tensors:
        if (inputs["x"] == number).any():
            raise error
        return expected("double", inputs)

    return step


async def test_of_a_batch_that_fails_the_halves_are_tried_again_and_only_the_offender_fails() -> None:
    async with stage(max_batch_rows=8) as scene:
        await scene.occupy()
        calls = [scene.submit(double(number)) for number in range(11, 19)]
        await turns()
        scene.puppet.go()
        for _ in range(7):
            scene.puppet.go(refuse(13, ValueError("thirteen")))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert repr(outcomes.pop(2)) == repr(ModelFailed("the model failed: ValueError: thirteen"))
        assert [numbers(outcome) for outcome in outcomes if isinstance(outcome, dict)] == [
            [2 * number] for number in (11, 12, 14, 15, 16, 17, 18)
        ]
        tried = [inputs["x"].ravel().tolist() for _, inputs in scene.puppet.runs[2:]]
        assert tried == [[11, 12, 13, 14], [11, 12], [13, 14], [13], [14], [15, 16, 17, 18]]
        assert scene.registry.get_sample_value("tfpod_batch_rows_count", {"model": "m"}) == 8
        assert scene.registry.get_sample_value("tfpod_failed_runs_total", {"model": "m"}) == 4


async def test_who_left_or_is_late_is_not_tried_again_alone() -> None:
    async with stage() as scene:
        calls = [scene.submit(double(number), seconds) for number, seconds in ((1, 600.0), (2, 600.0), (3, 30.0))]
        assert await scene.puppet.begun_rows() == [1, 2, 3]
        calls[1].cancel()
        await turns()
        scene.clock.now += 60.0
        scene.puppet.go(refuse(1, ValueError()))
        assert await scene.puppet.begun_rows() == [1]
        scene.puppet.go()
        assert numbers(await calls[0]) == [2]
        with pytest.raises(PodError, match="the deadline passed"):
            await calls[2]
        assert len(scene.puppet.runs) == 2


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("wrong\nin\tmany  ways"), "the model failed: ValueError: wrong in many ways"),
        (KeyError("x"), "the model failed: KeyError: 'x'"),
        (RuntimeError(), "the model failed: RuntimeError"),
        (MemoryError(), "the model failed: MemoryError"),
        (StopIteration(3), "the model failed: StopIteration: 3"),
        (SystemExit(3), "the model failed: SystemExit: 3"),
        (KeyboardInterrupt(), "the model failed: KeyboardInterrupt"),
        (asyncio.CancelledError(), "the model failed: asyncio.exceptions.CancelledError"),
        (Unspeakable(), f"the model failed: {__name__}.Unspeakable: <exception str() failed>"),
        (ValueError("x" * 10_000), "the model failed: ValueError: " + "x" * 500),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_whatever_a_model_raises_its_caller_is_told_and_the_next_call_is_computed(
    error: BaseException, text: str
) -> None:
    async with stage() as scene:
        failing = scene.submit(double(1))
        scene.puppet.go(refuse(1, error))
        with pytest.raises(ModelFailed) as caught:
            await failing
        assert str(caught.value) == text
        scene.puppet.free()
        assert numbers(await scene.submit(double(2))) == [4]
        assert scene.batcher.running_for == 0.0


async def test_the_services_own_errors_reach_the_caller_as_they_are_and_are_no_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with stage() as scene:
        refused = scene.submit(double(1))
        scene.puppet.go(refuse(1, InvalidRequest("not like this")))
        with pytest.raises(InvalidRequest, match=r"^not like this$"):
            await refused
        assert not caplog.records
        failed = scene.submit(double(1))
        scene.puppet.go(refuse(1, ValueError("a fault of the model's")))
        with pytest.raises(ModelFailed):
            await failed
        assert [record.message for record in caplog.records] == ["the model failed"]
        assert "a fault of the model's" in caplog.text


async def test_no_two_callers_raise_the_same_exception() -> None:
    async with stage() as scene:
        calls = [scene.submit(double(number)) for number in (1, 2)]
        for _ in range(3):
            scene.puppet.go(lambda _: {})
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert str(errors[0]) == str(errors[1])
        assert errors[0] is not errors[1]


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({}, "output 'y' is NoneType instead of an array of float32"),
        ({"z": np.zeros((2, 1), np.float32)}, "output 'y' is NoneType instead of an array of float32"),
        ({"y": [[1.0], [2.0]]}, "output 'y' is list instead of an array of float32"),
        ({"y": np.float32(1)}, "output 'y' is float32 instead of an array of float32"),
        ({"y": np.zeros((2, 1))}, "output 'y' is an array of float64 instead of an array of float32"),
        ({"y": np.zeros((3, 1), np.float32)}, "output 'y' has shape [3, 1] for 2 rows"),
        ({"y": np.zeros((), np.float32)}, "output 'y' has shape [] for 2 rows"),
        (None, "AttributeError: 'NoneType' object has no attribute 'get'"),
    ],
)
async def test_outputs_that_are_not_as_promised_are_the_models_failure(outputs: Any, text: str) -> None:
    async with stage() as scene:
        call = scene.submit(double(1, 2))
        scene.puppet.go(lambda _: outputs)
        with pytest.raises(ModelFailed) as caught:
            await call
        assert text in str(caught.value)
        scene.puppet.free()
        assert numbers(await scene.submit(double(2))) == [4]


async def test_without_a_free_first_dimension_the_outputs_must_be_there_and_any_size_will_do() -> None:
    async with stage() as scene:
        three, none = scene.submit(pair(1, 2)), scene.submit(pair(3, 4))
        scene.puppet.go(lambda _: {"extra": np.zeros(1), "y": np.arange(3, dtype=np.float32)})
        scene.puppet.go(lambda _: {})
        assert {name: array.tolist() for name, array in (await three).items()} == {"y": [0, 1, 2]}
        with pytest.raises(ModelFailed, match="output 'y' is NoneType"):
            await none


async def test_outputs_come_in_the_signatures_order_and_no_others_come() -> None:
    ones = np.ones((1, 1), np.float32)
    async with stage() as scene:
        call = scene.submit(Call("both", {"a": ones, "b": ones}))
        scene.puppet.go(lambda _: {"extra": ones, "minus": ones, "plus": ones})
        assert list(await call) == ["plus", "minus"]


def in_thread(seen: list[str]) -> Callable[[Tensors], Tensors]:
    """Return a step that notes in which thread it is."""

    def step(inputs: Tensors) -> Tensors:
        seen.append(threading.current_thread().name)
        return expected("double", inputs)

    return step


async def test_what_is_quick_is_computed_by_the_event_loop_and_all_else_by_a_thread() -> None:
    async with stage(quick=frozenset({"double"})) as scene:
        seen: list[str] = []
        scene.puppet.go(in_thread(seen))
        assert numbers(await scene.submit(double(1, 2))) == [2, 4]
        slow = scene.submit(pair(1, 2))
        await scene.puppet.begun()
        scene.puppet.go(in_thread(seen))
        await slow
        assert seen == [threading.current_thread().name, "model"]


async def test_what_takes_long_is_computed_by_a_thread_for_a_time_however_few_rows_it_had() -> None:
    async with stage(quick=frozenset({"double"})) as scene:
        seen: list[str] = []

        def take_long(inputs: Tensors) -> Tensors:
            scene.clock.now += 0.01
            return in_thread(seen)(inputs)

        for _ in range(9):
            scene.puppet.go(in_thread(seen))
            await scene.submit(double(*range(4)))
        scene.puppet.go(take_long)
        await scene.submit(double(1))
        for seconds in (0.0, 0.9, 0.2):
            scene.clock.now += seconds
            scene.puppet.go(in_thread(seen))
            await scene.submit(double(1))
        here = threading.current_thread().name
        assert seen == [here] * 10 + ["model", "model", here]


async def test_nobody_is_told_that_the_model_is_stuck_when_the_event_loop_was() -> None:
    async with stage(quick=frozenset({"double"}), max_batch_rows=1, stuck_after=0.05) as scene:

        def keep_all_waiting(inputs: Tensors) -> Tensors:
            time.sleep(0.1)
            return expected("double", inputs)

        scene.puppet.go(keep_all_waiting)
        scene.puppet.go()
        first, second = scene.submit(double(1)), scene.submit(double(2))
        assert numbers(await first) == [2]
        assert numbers(await second) == [4]


async def test_a_failure_of_what_is_quick_takes_no_neighbour_with_it() -> None:
    async with stage(quick=frozenset({"double"})) as scene:
        for _ in range(5):
            scene.puppet.go(refuse(2, ValueError("two")))
        calls = [scene.submit(double(number)) for number in (1, 2, 3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [numbers(outcome) for outcome in outcomes if isinstance(outcome, dict)] == [[2], [6]]
        assert isinstance(outcomes[1], ModelFailed)


async def test_pieces_whose_answers_do_not_fit_together_are_the_size_of_the_calls_fault() -> None:
    async with stage(max_batch_rows=2) as scene:
        call = scene.submit(double(1, 2, 3))
        scene.puppet.go()
        scene.puppet.go(lambda _: {"y": np.zeros((1, 5), np.float32)})
        with pytest.raises(
            TooLarge, match=r"'y' have the shape \[1\] in one batch and \[5\] in another; ask for fewer"
        ):
            await call
