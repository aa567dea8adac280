"""service/types.py: what a signature says of tensors and of batches."""

import numpy as np
import pytest

from service.door.bodies import LARGE
from service.types import ELEMENT_TYPES, Reply, Signature, TensorSpec

FLOAT = ELEMENT_TYPES[0]
Shape = tuple[int | None, ...] | None


def test_every_element_type_is_named_once_in_each_vocabulary() -> None:
    assert len(ELEMENT_TYPES) == 13
    for names in zip(*ELEMENT_TYPES, strict=True):
        assert len(set(names)) == len(ELEMENT_TYPES)


def test_names_agree_with_sizes() -> None:
    bits = {element.oip: element.numpy.itemsize * 8 for element in ELEMENT_TYPES}
    assert (bits.pop("BOOL"), bits.pop("BYTES")) == (8, 64)
    assert all(name.endswith(str(size)) for name, size in bits.items())


def test_only_byte_strings_are_strings() -> None:
    assert [element.oip for element in ELEMENT_TYPES if element.is_string] == ["BYTES"]
    assert np.dtype(object) == ELEMENT_TYPES[-1].numpy


@pytest.mark.parametrize(
    ("shape", "given", "accepted"),
    [
        ((None, 3), (5, 3), True),
        ((None, 3), (0, 3), True),
        ((None, 3), (5, 4), False),
        ((None, 3), (3,), False),
        ((None, 3), (1, 5, 3), False),
        ((2,), (2,), True),
        ((2,), (3,), False),
        ((), (), True),
        ((), (1,), False),
        (None, (), True),
        (None, (1, 2, 3), True),
    ],
)
def test_a_shape_is_accepted_where_every_size_is_free_or_equal(
    shape: Shape, given: tuple[int, ...], accepted: bool
) -> None:
    assert TensorSpec(FLOAT, shape).accepts(given) is accepted


@pytest.mark.parametrize(
    ("shape", "free"),
    [((None,), True), ((None, 3), True), ((1, None), False), ((3,), False), ((), False), (None, False)],
)
def test_rows_are_free_where_the_first_size_is(shape: Shape, free: bool) -> None:
    assert TensorSpec(FLOAT, shape).has_free_batch is free


@pytest.mark.parametrize(
    ("inputs", "outputs", "batches"),
    [
        ([(None, 2)], [(None,)], True),
        ([(None, 2), (None,)], [(None,), (None, 1)], True),
        ([(None, 2), (3,)], [(None,)], False),
        ([(None, 2)], [()], False),
        ([(None, 2)], [None], False),
        ([None], [(None,)], False),
    ],
)
def test_calls_share_a_batch_only_where_every_tensor_has_free_rows(
    inputs: list[Shape], outputs: list[Shape], batches: bool
) -> None:
    given, answered = (
        {str(n): TensorSpec(FLOAT, shape) for n, shape in enumerate(shapes)} for shapes in (inputs, outputs)
    )
    assert Signature(given, answered).batches is batches


@pytest.mark.parametrize(
    ("shape", "dtype", "steady", "bounded"),
    [
        ((None, 3), "float32", True, True),
        ((None, 3), "float32", False, False),
        ((None, None), "float32", True, False),
        ((None, 3), "int32", True, False),
        ((None,), "object", True, False),
        ((2, 3), "float16", True, True),
        (None, "float32", True, False),
    ],
)
def test_rows_alone_say_how_long_a_run_takes_if_they_are_floats_of_one_shape_and_nothing_loops(
    shape: Shape, dtype: str, *, steady: bool, bounded: bool
) -> None:
    element = next(element for element in ELEMENT_TYPES if element.numpy == dtype)
    answer = TensorSpec(FLOAT, shape)
    assert Signature({"x": TensorSpec(element, shape)}, {"y": answer}, "", steady).bounded is bounded


def test_rows_of_any_number_are_not_bounded_where_they_make_no_batch() -> None:
    total = Signature({"x": TensorSpec(FLOAT, (None,))}, {"y": TensorSpec(FLOAT, ())}, "", steady=True)
    assert not total.bounded


def test_a_replys_bytes_are_its_numbers_and_its_strings() -> None:
    words = np.array([b"four", "five5", b""], object)
    assert Reply({"y": np.zeros((2, 3), np.float32), "words": words}).nbytes == 24 + 3 * 8 + 9
    assert Reply({"words": np.full(1 << 20, b"four", object)}).nbytes >= 8 << 20


@pytest.mark.parametrize("count", [1 << 13, (1 << 13) + 1])
def test_no_number_of_long_strings_looks_small(count: int) -> None:
    assert Reply({"words": np.full(count, b"x" * 64, object)}).nbytes > LARGE
