"""service/models/warmup.py: what a model is run on before anybody waits for it."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.batching.form import Batching
from service.models.warmup import warm
from service.types import Signature, Tensors, TensorSpec
from tests.clock import Clock
from tests.echo import FLOAT, STRING, Echo, models, saved

PATH = Path("nowhere")
BATCHING = Batching(4, 16)


def test_every_signature_is_run_on_zeros_in_every_size() -> None:
    runs: list[tuple[str, dict[str, tuple[tuple[int, ...], Any]]]] = []

    def note(signature: str, inputs: Tensors) -> None:
        runs.append((signature, {name: (array.shape, set(array.ravel().tolist())) for name, array in inputs.items()}))

    batch = {"x": TensorSpec(FLOAT, (None, None, 2)), "text": TensorSpec(STRING, (None,))}
    fixed = {"x": TensorSpec(FLOAT, None), "y": TensorSpec(FLOAT, (2,))}
    warm(Echo(PATH, {"batch": Signature(batch, batch), "fixed": Signature(fixed, fixed)}, note), BATCHING)
    assert runs == [
        *3 * [("batch", {"x": ((1, 1, 2), {0.0}), "text": ((1,), {b""})})],
        *3 * [("batch", {"x": ((4, 1, 2), {0.0}), "text": ((4,), {b""})})],
        ("fixed", {"x": ((), {0.0}), "y": ((2,), {0.0})}),
    ]


def test_a_model_that_cannot_take_zeros_is_told_of_and_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("zeros\nmake no sense")

    warm(Echo(PATH, before=refuse), BATCHING)
    warnings = [vars(record) for record in caplog.records if record.levelno == logging.WARNING]
    assert [(w["message"], w["signature"], w["rows"], w["reason"]) for w in warnings] == [
        ("warm-up failed", "serving_default", rows, "ValueError: zeros make no sense") for rows in (1, 4)
    ]


@pytest.mark.parametrize(
    ("first", "each", "sizes", "alone"),
    [(0.0008, 0.01, (), True), (0.01, 0.002, (), False), (0.0, 0.0001, (), False), (0.0, 0.01, (1, 4), False)],
    ids=["as long", "cheaper together", "mostly overhead", "sizes that were asked for"],
)
def test_batches_that_take_as_long_as_their_rows_are_given_up(
    first: float, each: float, sizes: tuple[int, ...], *, alone: bool
) -> None:
    clock = Clock()

    def take_time(_: str, inputs: Tensors) -> None:
        clock.now += first + each * len(inputs["x"])

    batching = warm(Echo(PATH, before=take_time), replace(BATCHING, sizes=sizes), clock)
    assert batching.alone == ({"serving_default"} if alone else set())


@pytest.mark.parametrize(("each", "reentrant", "at_once"), [(0.01, True, 2), (0.01, False, 1), (0.0001, True, 1)])
def test_rows_that_are_computed_one_by_one_are_two_at_once_if_the_runtime_can(
    each: float, at_once: int, *, reentrant: bool
) -> None:
    clock = Clock()

    def take_time(_: str, inputs: Tensors) -> None:
        clock.now += each * len(inputs["x"])

    assert warm(Echo(PATH, before=take_time, reentrant=reentrant), BATCHING, clock).at_once == at_once


@pytest.mark.parametrize(
    ("seconds", "steady", "batching", "quick"),
    [
        (0.0004, True, BATCHING, True),
        (0.0006, True, BATCHING, False),
        (0.0004, False, BATCHING, False),
        (0.0004, True, replace(BATCHING, sizes=(2, 4)), True),
        (0.0004, True, replace(BATCHING, enabled=False), False),
    ],
    ids=["quick", "not quick", "of any length", "sizes that were asked for", "any number of rows"],
)
def test_a_full_batch_that_takes_no_time_whatever_is_in_it_is_quick(
    seconds: float, batching: Batching, *, steady: bool, quick: bool
) -> None:
    clock = Clock()

    def take_time(_: str, inputs: Tensors) -> None:
        clock.now += seconds * len(inputs["x"]) / 4

    rows = {"x": TensorSpec(FLOAT, (None, 3))}
    found = warm(Echo(PATH, {"m": Signature(rows, rows, "", steady)}, take_time), batching, clock)
    assert found.quick == ({"m"} if quick else set())


def test_a_model_of_one_shape_can_be_quick_without_batches() -> None:
    one = {"x": TensorSpec(FLOAT, (2, 3))}
    batching = replace(BATCHING, enabled=False)
    assert warm(Echo(PATH, {"m": Signature(one, one, "", steady=True)}), batching, Clock()).quick == {"m"}


def test_a_long_run_is_not_tried_again() -> None:
    clock, runs = Clock(), []

    def take_time(_: str, inputs: Tensors) -> None:
        runs.append(len(inputs["x"]))
        clock.now += 0.3 * len(inputs["x"])

    warm(Echo(PATH, before=take_time), BATCHING, clock)
    assert runs == [1, 1, 1, 4]


@pytest.mark.anyio
async def test_a_model_is_warmed_before_it_is_served_by_one_row_and_a_full_batch(tmp_path: Path) -> None:
    rows: list[int] = []

    def note(_: str, inputs: Tensors) -> None:
        assert not made.ready
        rows.append(len(inputs["x"]))

    with models(lambda path: Echo(path, before=note), m=saved(tmp_path, "1")) as made:
        await made.load()
    assert rows == [1, 1, 1, *3 * [Batching(4, 16).max_rows]]
