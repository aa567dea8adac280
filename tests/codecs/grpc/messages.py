"""The messages that clients of both protocols send, made by the classes that these clients have."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tritonclient.grpc.service_pb2 import ModelInferRequest
from tritonclient.utils import serialize_byte_tensor

from service.types import Array

#: Where a TensorProto has its values, by numpy's name of their type.
VALUES: Final = {
    "float32": "float_val",
    "float64": "double_val",
    "float16": "half_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "int64": "int64_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "object": "string_val",
}
#: The Open Inference Protocol's names of types, and where InferTensorContents has their values.
CONTENTS: Final = {
    "float32": ("FP32", "fp32_contents"),
    "float64": ("FP64", "fp64_contents"),
    "float16": ("FP16", ""),
    "int8": ("INT8", "int_contents"),
    "int16": ("INT16", "int_contents"),
    "int32": ("INT32", "int_contents"),
    "int64": ("INT64", "int64_contents"),
    "uint8": ("UINT8", "uint_contents"),
    "uint16": ("UINT16", "uint_contents"),
    "uint32": ("UINT32", "uint_contents"),
    "uint64": ("UINT64", "uint64_contents"),
    "bool": ("BOOL", "bool_contents"),
    "object": ("BYTES", "bytes_contents"),
}


def tensor(array: Array, values: list[Any] | None = None) -> Any:
    """Return a TensorProto of the array's type and shape, its values (or those given) one by one."""
    kind = tf.string if array.dtype.kind == "O" else tf.as_dtype(array.dtype)
    shape = tf.TensorShape(array.shape).as_proto()
    proto = TensorProto(dtype=kind.as_datatype_enum, tensor_shape=shape)
    bits: Array = array.view(np.uint16) if array.dtype == np.float16 else array
    getattr(proto, VALUES[array.dtype.name]).extend(bits.ravel().tolist() if values is None else values)
    return proto


def predict(inputs: Mapping[str, Any], *filters: str, name: str = "m", signature: str = "") -> Any:
    """Return a PredictRequest of tensors, or of arrays in the form that TensorFlow gives them."""
    request = PredictRequest(output_filter=filters)
    request.model_spec.name, request.model_spec.signature_name = name, signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value) if isinstance(value, np.ndarray) else value)
    return request


def infer(inputs: Mapping[str, Array], *outputs: str, raw: bool = True) -> Any:
    """Return a ModelInferRequest whose tensors are raw or in contents."""
    request = ModelInferRequest(model_name="m")
    for name, array in inputs.items():
        datatype, field = CONTENTS[array.dtype.name]
        given = request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if not raw:
            getattr(given.contents, field).extend(array.ravel().tolist())
        elif datatype == "BYTES":
            request.raw_input_contents.append(b"".join(serialize_byte_tensor(array).ravel().tolist()))
        else:
            request.raw_input_contents.append(array.tobytes())
    for name in outputs:
        request.outputs.add(name=name)
    return request
