"""service/codecs/binary.py: tensors as bytes, and bytes that are no tensor."""

import numpy as np
import pytest

from service.codecs import binary
from service.errors import InvalidRequest, TooLarge
from service.types import ELEMENT_TYPES, Array, ElementType
from tests.codecs.forms import ELEMENTS, random_array, same

ELEMENT = pytest.mark.parametrize("element", ELEMENT_TYPES, ids=lambda element: element.numpy.name)
STRING = ELEMENTS["object"]


def refused(data: bytes, element: ElementType, *shape: int) -> str:
    with pytest.raises(InvalidRequest) as caught:
        binary.read(memoryview(data), element, shape)
    return str(caught.value)


@ELEMENT
def test_what_is_written_reads_the_same(element: ElementType) -> None:
    random = np.random.default_rng(1)
    for shape in ((), (1,), (0,), (3, 0), (2, 3), (4, 1, 5)):
        array = random_array(random, element, shape)
        data = bytes(binary.write(array))
        assert same(binary.read(memoryview(data), element, shape), array)


def test_numbers_are_little_endian_row_by_row() -> None:
    array = np.array([[1, 2], [3, 258]], np.uint16)
    for one in (array, np.asfortranarray(array), np.repeat(array, 2, axis=1)[:, ::2]):
        assert bytes(binary.write(one)) == b"\x01\x00\x02\x00\x03\x00\x02\x01"


def test_a_string_is_its_length_and_itself() -> None:
    strings = np.array([b"ab", b"", "ä".encode()], object)
    assert bytes(binary.write(strings)) == b"\x02\x00\x00\x00ab\x00\x00\x00\x00\x02\x00\x00\x00\xc3\xa4"
    assert bytes(binary.write(np.array(["ä"], object))) == b"\x02\x00\x00\x00\xc3\xa4"


def test_numbers_are_not_copied_wherever_they_lie() -> None:
    numbers = np.arange(1000, dtype=np.float64)
    body = memoryview(b"odd" + numbers.tobytes())
    array = binary.read(body[3:], ELEMENTS["float64"], (10, 100))
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))
    assert np.array_equal(array.ravel(), numbers)
    assert not array.flags.writeable
    assert np.shares_memory(np.frombuffer(binary.write(numbers), np.uint8), numbers)


def test_every_byte_is_a_bool() -> None:
    array: Array = binary.read(memoryview(b"\x00\x01\x02\xff"), ELEMENTS["bool"], (4,))
    assert array.tobytes() == b"\x00\x01\x01\x01"


@ELEMENT
@pytest.mark.parametrize("change", [-1, 1, 100])
def test_bytes_that_are_too_few_or_too_many_are_refused(element: ElementType, change: int) -> None:
    data = bytes(binary.write(random_array(np.random.default_rng(1), element, (2, 3))))
    refused(data[:change] if change < 0 else data + b"\x00" * change, element, 2, 3)


@pytest.mark.parametrize(
    ("data", "count", "error"),
    [
        (b"", 1, "too few for 1 strings"),
        (b"\x00\x00\x00", 1, "too few for 1 strings"),
        (b"\x01\x00\x00\x00", 1, "string 0 goes on after the end"),
        (b"\xff\xff\xff\xff", 1, "string 0 goes on after the end"),
        (b"\x05\x00\x00\x00abcde", 2, "string 1 goes on after the end"),
        (b"\x04\x00\x00\x00abcd\x01", 2, "string 1 goes on after the end"),
        (b"\x01\x00\x00\x00ab", 1, "1 bytes follow"),
        (b"\x00" * 8, 1, "4 bytes follow"),
        (b"\x00", 0, "1 bytes follow"),
        (b"", 10**18, "too few"),
    ],
)
def test_strings_whose_lengths_lie_are_refused(data: bytes, count: int, error: str) -> None:
    assert error in refused(data, STRING, count)


def test_more_strings_are_not_taken_than_there_is_memory_for() -> None:
    most = 1 << 20
    assert binary.read(memoryview(bytes(4 * most)), STRING, [2, most // 2]).shape == (2, most // 2)
    with pytest.raises(TooLarge, match=f"{most + 1} strings are in one tensor; at most {most}"):
        binary.read(memoryview(bytes(4 * most + 4)), STRING, [most + 1])


def test_many_strings_are_written_in_steps_as_few_are_at_once() -> None:
    strings = np.array([b"%d" % number for number in range(70_001)], object).reshape(-1, 1)
    assert binary.write(strings) == b"".join(binary.write(row) for row in strings)
