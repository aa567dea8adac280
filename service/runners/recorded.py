"""Reads the requests that a SavedModel brings along for its warm-up, in TensorFlow Serving's form.

They lie in `assets.extra/tf_serving_warmup_requests`, a file of TFRecords, each a PredictionLog.
"""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from service.types import DEFAULT_SIGNATURE, Tensors

_FILE: Final = Path("assets.extra", "tf_serving_warmup_requests")
_MOST: Final = 1000
#: The fields that are read, by their numbers in tensorflow_serving/apis/{prediction_log,predict,model}.proto.
_PREDICT_LOG, _REQUEST, _SPEC, _SIGNATURE, _INPUTS, _KEY, _VALUE = 6, 1, 1, 3, 2, 1, 2

_log = logging.getLogger("tfpod.tensorflow")


def requests(folder: Path) -> Iterator[tuple[str, Tensors]]:
    """Yield (signature, inputs) of each request to predict, of the first 1000 records.

    Raises InvalidRequest, or what TensorFlow raises, where the file holds something else.
    """
    file = folder / _FILE
    if not file.is_file():
        return
    from tensorflow.core.framework.tensor_pb2 import TensorProto  # noqa: PLC0415 - only where there is a file to read
    from tensorflow.python.framework.tensor_util import MakeNdarray  # noqa: PLC0415 - see above
    from tensorflow.python.lib.io.tf_record import tf_record_iterator  # noqa: PLC0415 - see above

    from service.codecs.grpc import wire  # noqa: PLC0415 - see above

    skipped = 0
    for record in itertools.islice(tf_record_iterator(str(file)), _MOST):
        log = wire.load(memoryview(record))
        if log[_PREDICT_LOG]:
            request = wire.message(wire.message(log, _PREDICT_LOG), _REQUEST)
            given = {wire.last(one, _KEY, ""): wire.last(one, _VALUE, b"") for one in wire.messages(request, _INPUTS)}
            inputs = {name: MakeNdarray(TensorProto.FromString(bytes(value))) for name, value in given.items()}
            yield wire.last(wire.message(request, _SPEC), _SIGNATURE, "") or DEFAULT_SIGNATURE, inputs
        else:
            skipped += 1
    if skipped:
        _log.warning("only requests to predict warm a model up", extra={"file": str(file), "skipped": skipped})
