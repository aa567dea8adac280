"""service/codecs/grpc/wire.py: protobuf's wire format."""

from typing import Any

import numpy as np
import pytest
from google.protobuf.struct_pb2 import ListValue
from tensorflow.core.framework.tensor_pb2 import TensorProto

from service.codecs.grpc import wire
from service.errors import InvalidRequest

#: The ends of what a varint of each length can say.
EDGES = sorted({0, 2**64 - 1, *(2 ** (7 * length) - less for length in range(1, 10) for less in (0, 1))})
ENDLESS = b"\xff" * 10


def refused(message: bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        wire.load(message)
    return str(caught.value)


def all_of(fields: Any, number: int) -> list[int]:
    return [int(value) for step in wire.integers(fields, number) for value in step]


@pytest.mark.parametrize("size", [len(EDGES), 10_000, 200_000])
def test_integers_are_read_and_written_as_protobuf_does(size: int) -> None:
    random = np.random.default_rng(size)
    varied = random.integers(0, 2**64, size, np.uint64) >> random.integers(0, 64, size, np.uint64)
    values = np.concatenate([np.array(EDGES, np.uint64), varied])
    message = TensorProto(uint64_val=values.tolist()).SerializeToString()
    assert all_of(wire.load(message), 17) == values.tolist()
    assert wire.dump({17: wire.packed(values)}) == message


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64])
def test_negative_integers_are_read_and_written_as_protobuf_does(kind: Any) -> None:
    bounds = np.iinfo(kind)
    values = np.array([bounds.min, -1, 0, 1, bounds.max], kind)
    message = TensorProto(int64_val=values.tolist()).SerializeToString()
    assert [wire.signed(value) for value in all_of(wire.load(message), 10)] == values.tolist()
    assert wire.sizes(wire.load(message), 10) == values.tolist()
    assert wire.dump({10: wire.packed(values)}) == message


def test_numbers_may_come_packed_or_one_by_one_and_in_several_pieces() -> None:
    message = wire.dump({10: [1, b"\x02\xac\x02", -1, b"", 2**63]})
    assert list(TensorProto.FromString(message).int64_val) == [1, 2, 300, -1, -(2**63)]
    assert wire.sizes(wire.load(message), 10) == [1, 2, 300, -1, -(2**63)]
    assert all_of(wire.load(message), 10) == [1, 2, 300, 2**64 - 1, 2**63]
    floats = b"\x2d\0\0\x80\x3f" + wire.dump({5: np.array([2, 3], np.float32).tobytes()})
    assert list(TensorProto.FromString(floats).float_val) == [1, 2, 3]
    assert wire.floats(wire.load(floats), 5, np.float32).tolist() == [1, 2, 3]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 1 << 16, (1 << 16) + 1])
def test_bytes_of_any_length_are_read_from_a_message_of_any_length(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    message = TensorProto(tensor_content=data, string_val=[b"a"]).SerializeToString()
    for given in (message, memoryview(message)):
        fields = wire.load(given)
        assert wire.last(fields, 4, b"") == data
        assert list(wire.blocks(fields, 8)) == [b"a"]


def test_long_bytes_and_packed_floats_are_not_copied() -> None:
    values = np.arange(100_000, dtype=np.float32)
    message = np.frombuffer(TensorProto(float_val=values.tolist()).SerializeToString(), np.uint8)
    found = wire.floats(wire.load(message.data), 5, np.float32)
    assert np.array_equal(found, values)
    assert np.shares_memory(found, message)


def test_a_message_in_a_message_is_written_as_protobuf_does() -> None:
    proto = ListValue()
    proto.values.add(string_value="ä")
    proto.values.add().list_value.values.add(bool_value=True)
    proto.values.add().struct_value.SetInParent()
    assert wire.dump({1: [{3: "ä"}, {6: {1: [{4: True, 3: None}]}}, {5: {}}]}) == proto.SerializeToString()


def test_of_a_field_that_comes_twice_the_last_counts() -> None:
    fields = wire.load(wire.dump({1: ["a", "b"], 2: [1, 2]}))
    assert (wire.last(fields, 1, ""), wire.last(fields, 2, 0), wire.last(fields, 3, 7)) == ("b", 2, 7)
    assert wire.texts(fields, 1) == ["a", "b"]


def test_fields_of_high_numbers_are_passed_over() -> None:
    fields = wire.load(wire.dump({1: "a", 32: "b", 2**29 - 1: 5, 31: 6}))
    assert {number: list(values) for number, values in fields.items()} == {1: [b"a"], 31: [6]}


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"\x80", "a number of a message has no end"),
        (b"\x08", "a number of a message has no end"),
        (b"\x08\x80", "a number of a message has no end"),
        (b"\x08" + ENDLESS, "a number of a message has no end"),
        (ENDLESS + b"\x01", "a number of a message has no end"),
        (b"\x0a", "a number of a message has no end"),
        (b"\x0a\x01", "field 1 of a message goes on after its end"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "field 1 of a message goes on after its end"),
        (b"\x0d\0\0\0", "field 1 of a message goes on after its end"),
        (b"\x09\0\0\0\0\0\0\0", "field 1 of a message goes on after its end"),
        (b"\x0b", "field 1 of a message has wire type 3, which there is not"),
        (b"\x0c", "field 1 of a message has wire type 4, which there is not"),
        (b"\x0e", "field 1 of a message has wire type 6, which there is not"),
        (b"\x0f", "field 1 of a message has wire type 7, which there is not"),
    ],
)
def test_what_is_no_message_is_refused(message: bytes, error: str) -> None:
    assert refused(message) == refused(b"\x10\x01" + message) == error


def test_a_message_has_no_more_fields_than_there_is_use_for() -> None:
    for number in (1, 1000):
        message = wire.dump({number: [0] * wire.FEW})
        wire.load(message)
        assert refused(message + b"\0\0") == "a message has too many fields"


@pytest.mark.parametrize("data", [b"\x80", b"\x01\xff", ENDLESS + b"\x01", b"\x01" * 200 + b"\x80", b"\xff" * 1000])
def test_packed_integers_that_have_no_end_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="has no end"):
        all_of({1: [data]}, 1)


def test_as_many_sizes_as_no_shape_has_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="field 1 of a message has too many numbers"):
        wire.sizes({1: [b"\x01" * (wire.FEW + 1)]}, 1)


def test_bytes_that_are_no_floats_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="7 bytes are no numbers of 4 bytes each"):
        wire.floats({1: [b"1234567"]}, 1, np.float32)


@pytest.mark.parametrize(
    "read",
    [
        lambda fields, number: wire.last(fields, number, b"" if number == 1 else 0),
        lambda fields, number: wire.last(fields, number, "" if number == 1 else 0),
        lambda fields, number: wire.message(fields, 1),
        lambda fields, number: wire.messages(fields, 1),
        lambda fields, number: wire.texts(fields, 1),
        lambda fields, number: wire.blocks(fields, 1),
        lambda fields, number: wire.floats(fields, 1, np.float32),
    ],
    ids=["last bytes", "last text", "message", "messages", "texts", "blocks", "floats"],
)
@pytest.mark.parametrize("number", [1, 2])
def test_a_field_of_another_type_is_refused(read: Any, number: int) -> None:
    with pytest.raises(InvalidRequest, match=r"field . of a message is of another type"):
        read({1: [5], 2: [b"text"]}, number)


@pytest.mark.parametrize(("text", "error"), [(b"\xff", "not UTF-8"), (b"a" * ((1 << 16) + 1), "longer than 65536")])
def test_a_text_is_utf8_and_has_an_end(text: bytes, error: str) -> None:
    for read in (lambda fields: wire.last(fields, 1, ""), lambda fields: wire.texts(fields, 1)):
        with pytest.raises(InvalidRequest, match=error):
            read({1: [text]})
