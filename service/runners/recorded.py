"""Reads the requests that a SavedModel brings along for its warm-up, in TensorFlow Serving's form.

They lie in `assets.extra/tf_serving_warmup_requests`, a file of TFRecords, each a PredictionLog.
"""

import functools
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from service.types import DEFAULT_SIGNATURE, Tensors

_FILE: Final = Path("assets.extra", "tf_serving_warmup_requests")
_MOST: Final = 1000

#: The fields that are read of tensorflow_serving/apis/{prediction_log,predict,model}.proto: name, number, type. The
#: package tensorflow-serving-api has all of them, and brings gRPC along.
_MESSAGES: Final = {
    "ModelSpec": [("signature_name", 3, "string")],
    "PredictRequest": [("model_spec", 1, ".tfpod.ModelSpec"), ("inputs", 2, ".tfpod.Input*")],
    "Input": [("key", 1, "string"), ("value", 2, ".tensorflow.TensorProto")],
    "PredictLog": [("request", 1, ".tfpod.PredictRequest")],
    "PredictionLog": [("predict_log", 6, ".tfpod.PredictLog")],
}

_log = logging.getLogger("tfpod.tensorflow")


def requests(folder: Path) -> Iterator[tuple[str, Tensors]]:
    """Yield (signature, inputs) of each request to predict, of the first 1000 records.

    Raises ValueError, or what TensorFlow raises, where the file holds something else.
    """
    file = folder / _FILE
    if not file.is_file():
        return
    from tensorflow.python.framework.tensor_util import MakeNdarray  # noqa: PLC0415 - only where there is a file to read
    from tensorflow.python.lib.io.tf_record import tf_record_iterator  # noqa: PLC0415 - see above

    skipped = 0
    for record in itertools.islice(tf_record_iterator(str(file)), _MOST):
        log = _prediction_log().FromString(record)
        if log.HasField("predict_log"):
            request = log.predict_log.request
            inputs = {entry.key: MakeNdarray(entry.value) for entry in request.inputs}
            yield request.model_spec.signature_name or DEFAULT_SIGNATURE, inputs
        else:
            skipped += 1
    if skipped:
        _log.warning("only requests to predict warm a model up", extra={"file": str(file), "skipped": skipped})


@functools.cache
def _prediction_log() -> Any:
    """Return the class of PredictionLog, made of the fields above."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: PLC0415 - TensorFlow's
    from tensorflow.core.framework import tensor_pb2  # noqa: PLC0415 - see above

    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="tfpod/recorded.proto", package="tfpod", syntax="proto3")
    file.dependency.append(tensor_pb2.DESCRIPTOR.name)
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            field = described.field.add(name=name, number=number)
            field.label = field_type.LABEL_REPEATED if kind.endswith("*") else field_type.LABEL_OPTIONAL
            if kind == "string":
                field.type = field_type.TYPE_STRING
            else:
                field.type, field.type_name = field_type.TYPE_MESSAGE, kind.rstrip("*")
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tfpod.PredictionLog"))
