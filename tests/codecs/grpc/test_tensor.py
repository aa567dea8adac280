"""service/codecs/grpc/tensor.py: TensorProto, against TensorFlow's own."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

from service.codecs.grpc import tensor, wire
from service.errors import InvalidRequest
from service.types import ELEMENT_TYPES, Array, ElementType, TensorSpec
from tests.codecs.forms import ELEMENTS, FLOAT, random_array, same
from tests.codecs.grpc import messages

ELEMENT = pytest.mark.parametrize("element", ELEMENT_TYPES, ids=lambda element: element.numpy.name)
SHAPES = [(), (0,), (2, 0), (0, 3), (1,), (4, 3), (1, 2, 3, 1), (700, 100)]


def read(proto: Any, element: ElementType = FLOAT) -> Array:
    return tensor.read(wire.load(proto.SerializeToString(), wire.MANY), element)


def refused(proto: Any, element: ElementType = FLOAT) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read(proto, element)
    return str(caught.value)


@ELEMENT
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_whatever_tensorflow_writes_is_read(element: ElementType, shape: tuple[int, ...]) -> None:
    array = random_array(np.random.default_rng(len(shape)), element, shape)
    assert same(read(messages.tensor(array), element), array)
    assert same(read(tf.make_tensor_proto(array), element), array)


@ELEMENT
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_tensorflow_reads_whatever_is_written(element: ElementType, shape: tuple[int, ...]) -> None:
    array = random_array(np.random.default_rng(len(shape)), element, shape)
    proto = TensorProto.FromString(wire.dump(tensor.write(array)))
    found = tf.make_ndarray(proto)
    assert same(found.astype(object) if element.is_string else found, array)
    if element.numpy.kind != "f":  # a NaN is another one after Python has had it
        assert proto.SerializeToString() == messages.tensor(array).SerializeToString()


def test_memory_may_lie_in_any_order() -> None:
    for array in (np.arange(12, dtype=np.float32).reshape(3, 4).T, np.arange(24, dtype=np.int32)[::2]):
        assert same(tf.make_ndarray(TensorProto.FromString(wire.dump(tensor.write(array)))), array)


@ELEMENT
def test_what_is_left_out_is_like_the_last_value_or_zero(element: ElementType) -> None:
    array = random_array(np.random.default_rng(5), element, (3, 2))
    for kept in range(7):
        proto = messages.tensor(array)
        del getattr(proto, messages.VALUES[element.numpy.name])[kept:]
        expected = tf.make_ndarray(proto) if kept else np.full((3, 2), b"" if element.is_string else 0)
        assert same(read(proto, element), expected.astype(element.numpy))
    assert read(TensorProto(dtype=proto.dtype), element).tolist() == (b"" if element.is_string else 0)


def test_no_more_may_be_left_out_than_costs_little() -> None:
    proto = messages.tensor(np.empty((1 << 18) + 1, np.float32), [1.0])
    assert set(read(proto)) == {1.0}
    proto.tensor_shape.dim[0].size += 1
    assert refused(proto) == "1 values are given for 262146; at most 262144 may be left out"


def test_there_may_not_be_more_values_than_elements() -> None:
    assert refused(messages.tensor(np.zeros(2, np.float32), [1, 2, 3])) == "3 values are more than the shape's 2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("int8", 128),
        ("int8", -129),
        ("int16", 2**15),
        ("uint8", 256),
        ("uint8", -1),
        ("uint16", 2**16),
        ("uint16", -1),
        ("float16", 2**16),
        ("float16", -1),
    ],
)
def test_a_value_that_is_none_of_the_type_is_refused(name: str, value: int) -> None:
    for others in ([], [0] * 1000):
        proto = messages.tensor(np.zeros(1 + len(others), ELEMENTS[name].numpy), [*others, value])
        assert refused(proto, ELEMENTS[name]).startswith("a value is no ")


def test_another_type_is_refused_by_its_name() -> None:
    assert refused(messages.tensor(np.zeros(1))) == "dtype is DT_DOUBLE, expected DT_FLOAT"
    assert refused(TensorProto(dtype=18)) == "dtype is of number 18, expected DT_FLOAT"
    assert refused(TensorProto()) == "dtype is of number 0, expected DT_FLOAT"


@pytest.mark.parametrize(
    ("sizes", "error"),
    [
        ([2**62], "1 values are given for 4611686018427387904; at most 262144 may be left out"),
        ([2**31] * 4, "too large is the shape [2147483648, 2147483648, 2147483648, 2147483648]"),
        ([-1], "a size is negative in the shape [-1]"),
        ([2, -(2**63)], "a size is negative in the shape [2, -9223372036854775808]"),
        ([0, 2**60], "too large is the shape [0, 1152921504606846976]"),
        ([1] * 33, "more than 32 dimensions are in the shape"),
    ],
)
def test_a_shape_that_no_data_has_is_refused(sizes: list[int], error: str) -> None:
    dims = [TensorShapeProto.Dim(size=size) for size in sizes]
    assert refused(TensorProto(dtype=1, tensor_shape=TensorShapeProto(dim=dims), float_val=[1])) == error


def test_an_unknown_rank_is_refused() -> None:
    shape = TensorShapeProto(unknown_rank=True)
    assert refused(TensorProto(dtype=1, tensor_shape=shape)) == "the shape has an unknown rank"


def test_content_must_fill_the_shape() -> None:
    proto = tf.make_tensor_proto(np.zeros((2, 3), np.float32))
    proto.tensor_content = bytes(20)
    assert refused(proto) == "tensor_content has 20 bytes, but the shape [2, 3] makes 24"


def test_strings_have_no_content() -> None:
    proto = TensorProto(dtype=7, tensor_content=b"\x01a")
    assert refused(proto, ELEMENTS["object"]) == "strings are to be in string_val, not in tensor_content"


def test_a_bool_is_true_whatever_its_byte() -> None:
    proto = tf.make_tensor_proto(np.array([True, False, True]))
    proto.tensor_content = b"\x02\x00\xff"
    assert read(proto, ELEMENTS["bool"]).view(np.uint8).tolist() == [1, 0, 1]


@pytest.mark.parametrize("shape", [None, (), (None,), (None, 3), (2, None)], ids=str)
def test_a_signatures_tensor_is_told_as_tensorflow_tells_it(shape: tuple[int | None, ...] | None) -> None:
    for element in ELEMENT_TYPES:
        info = TensorInfo.FromString(wire.dump(tensor.info_of(TensorSpec(element, shape, "x:0"))))
        kind = tf.string if element.is_string else tf.as_dtype(element.numpy)
        assert (info.name, info.dtype) == ("x:0", kind.as_datatype_enum)
        assert tf.TensorShape(info.tensor_shape).as_proto() == tf.TensorShape(shape).as_proto()
