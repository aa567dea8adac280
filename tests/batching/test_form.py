"""service/batching/form.py, and what its numbers do: bytes, company, sizes."""

import asyncio

import numpy as np
import pytest

from service.batching.form import Batching, Form
from service.errors import Overloaded, TooLarge
from service.types import Call
from tests.puppet import SIGNATURES, double, numbers, pair, stage, turns

pytestmark = pytest.mark.anyio


def test_a_model_is_tried_on_the_sizes_that_it_will_be_given() -> None:
    assert Batching(64, 99).warm_sizes == (1, 64)
    assert Batching(64, 99, sizes=(8, 64)).warm_sizes == (8, 64)


@pytest.mark.parametrize(("rows", "size", "step"), [(1, 9999, 1), (9, 90, 4), (9, 450, 2), (9, 9999, 1), (3, 0, 3)])
def test_a_call_is_cut_by_rows_and_by_bytes_but_no_row_is(rows: int, size: int, step: int) -> None:
    assert Batching(4, 99, max_bytes=100).step(rows, size) == step


def test_calls_share_a_batch_if_their_rows_have_one_shape() -> None:
    form = Form("double", SIGNATURES["double"], Batching(4, 16))
    keys = [form.key(call, number) for number, call in enumerate([double(1), double(2, 3), double(4, width=2)])]
    assert keys[0] == keys[1] != keys[2]


def test_calls_that_share_none_have_keys_of_their_own() -> None:
    for form in (
        Form("pair", SIGNATURES["pair"], Batching(4, 16)),
        Form("double", SIGNATURES["double"], Batching(4, 16, enabled=False)),
    ):
        assert not form.shares
        assert form.key(double(1), 1) != form.key(double(1), 2)
    assert Form("pair", SIGNATURES["pair"], Batching(4, 16)).measure(pair(1, 2).inputs) == (1, 8)


async def test_a_batch_takes_no_more_than_its_bytes() -> None:
    async with stage(max_bytes=8) as scene:
        await scene.occupy()
        for number in (1, 2, 3):
            scene.submit(double(number))
        await turns()
        scene.puppet.go()
        assert await scene.puppet.begun_rows() == [1, 2]


async def test_a_call_of_more_bytes_than_a_batch_is_computed_in_pieces() -> None:
    async with stage(max_bytes=8) as scene:
        scene.puppet.free()
        assert numbers(await scene.submit(double(1, 2, 3))) == [2, 4, 6]
        assert [len(inputs["x"]) for _, inputs in scene.puppet.runs] == [2, 1]


async def test_a_queue_takes_no_more_than_its_bytes() -> None:
    async with stage(max_bytes=12, max_queue_bytes=12) as scene:
        await scene.occupy()
        with pytest.raises(TooLarge, match="16 bytes of tensors in one request; at most 12"):
            await scene.submit(double(1, 2, 3, 4))
        scene.submit(double(1, 2))
        await turns()
        assert scene.batcher.queue_bytes == 8
        with pytest.raises(Overloaded, match="8 bytes wait"):
            await scene.submit(double(3, 4))
        scene.submit(double(5))
        await turns()
        assert scene.batcher.queue_bytes == 12


async def test_a_batch_that_waits_for_company_goes_when_it_is_full() -> None:
    async with stage(timeout=600.0) as scene:
        for rows in ((1, 2), (3,)):
            scene.submit(double(*rows))
            await turns()
        assert scene.puppet.runs == []
        scene.submit(double(4))
        assert await scene.puppet.begun_rows() == [1, 2, 3, 4]


async def test_a_batch_that_waits_for_company_goes_when_it_has_waited_long_enough() -> None:
    async with stage(timeout=0.01) as scene:
        scene.submit(double(1))
        assert await scene.puppet.begun_rows() == [1]


async def test_who_leaves_while_waiting_for_company_is_not_computed() -> None:
    async with stage(timeout=0.05) as scene:
        leaver = scene.submit(double(1))
        await turns()
        leaver.cancel()
        scene.submit(double(2))
        assert await scene.puppet.begun_rows() == [2]


async def test_priority_waits_for_no_company() -> None:
    async with stage(timeout=600.0) as scene:
        scene.submit(double(1))
        await turns()
        scene.submit(double(2, priority=1))
        assert await scene.puppet.begun_rows() == [2, 1]


async def test_a_batch_is_filled_up_to_the_next_size_with_its_first_row_and_nobody_sees_it() -> None:
    async with stage(max_batch_rows=8, sizes=(2, 8)) as scene:
        calls = [scene.submit(double(*rows)) for rows in ((1, 2), (3,))]
        assert await scene.puppet.begun_rows() == [1, 2, 3, 1, 1, 1, 1, 1]
        scene.puppet.free()
        assert [numbers(answer) for answer in await asyncio.gather(*calls)] == [[2, 4], [6]]
        await scene.submit(double(1, 2))
        assert len(scene.puppet.runs[-1][1]["x"]) == 2
        assert numbers(await scene.submit(pair(1, 2))) == [2, 4]
        assert scene.registry.get_sample_value("tfpod_padding_rows_total", {"model": "m"}) == 5


async def test_strings_and_several_inputs_are_filled_up_alike() -> None:
    async with stage(max_batch_rows=4, sizes=(4,)) as scene:
        scene.puppet.free()
        a, b = np.array([[1], [2]], np.float32), np.array([[3], [4]], np.float32)
        answer = await scene.submit(Call("both", {"a": a, "b": b}))
        assert (numbers(answer, "plus"), numbers(answer, "minus")) == ([4, 6], [-2, -2])
        assert {name: array.ravel().tolist() for name, array in scene.puppet.runs[0][1].items()} == {
            "a": [1, 2, 1, 1],
            "b": [3, 4, 3, 3],
        }
