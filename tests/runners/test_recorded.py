"""Requests that a model brings for its warm-up, as TensorFlow Serving's documentation has people write them."""

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from service.runners import recorded
from service.runners.tensorflow import TensorFlowRunner
from tests.runners.test_tensorflow import load, save, spec

#: PredictionLogs of the package tensorflow-serving-api 2.21.0: one of a call of signature `two`, b = [[0.5, 1.5]] and
#: a = [[2]], its version, output filter and metadata filled in; one of a ClassificationRequest.
PREDICT: Final = bytes.fromhex(
    "0a050a030a016d32460a440a0c0a016d120208031a0374776f12140a0161120f080912081202080112020801520102"
    "121b0a0162121608011208120208011202080222080000003f0000c03f1a017a"
)
CLASSIFY: Final = bytes.fromhex("12070a050a030a016d")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Save a model that takes rows below ten."""

    def below_ten(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(x, 10.0)]):
            return {"y": tf.identity(x)}

    return save(tmp_path, serving_default=(below_ten, [spec("x", [None])]))


def bring(folder: Path, *records: bytes) -> None:
    """Lay the records into the model's folder."""
    (folder / "assets.extra").mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        for record in records:
            writer.write(record)


def request(*numbers: float, signature: str = "") -> bytes:
    """Return a record of a call with these numbers."""
    log = PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array(numbers, np.float32)))
    log.predict_log.request.model_spec.signature_name = signature
    return bytes(log.SerializeToString())


def test_a_record_of_tensorflow_serving_is_read(tmp_path: Path) -> None:
    bring(tmp_path, PREDICT)
    ((signature, inputs),) = recorded.requests(tmp_path)
    assert (signature, {name: array.tolist() for name, array in inputs.items()}) == (
        "two",
        {"a": [[2]], "b": [[0.5, 1.5]]},
    )
    assert [str(inputs[name].dtype) for name in ("a", "b")] == ["int64", "float32"]


def test_a_model_without_requests_is_as_good(tmp_path: Path) -> None:
    assert list(recorded.requests(tmp_path)) == []


def test_requests_of_other_kinds_are_passed_over_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bring(tmp_path, CLASSIFY, PREDICT, CLASSIFY)
    assert len(list(recorded.requests(tmp_path))) == 1
    (record,) = caplog.records
    assert (record.message, vars(record)["skipped"]) == ("only requests to predict warm a model up", 2)


def test_a_thousand_records_are_read_and_no_more(tmp_path: Path) -> None:
    bring(tmp_path, *[request(1.0)] * 1001)
    assert len(list(recorded.requests(tmp_path))) == 1000


def test_strings_are_read_as_bytes(tmp_path: Path) -> None:
    log = PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto([b"\xff", "é".encode()]))
    bring(tmp_path, log.SerializeToString())
    ((_, inputs),) = recorded.requests(tmp_path)
    assert inputs["x"].tolist() == [b"\xff", "é".encode()]


def test_a_model_answers_what_it_brought_before_it_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[float]] = []
    run = TensorFlowRunner.run

    def note(self: TensorFlowRunner, signature: str, inputs: Any) -> Any:
        asked.append(inputs["x"].tolist())
        return run(self, signature, inputs)

    monkeypatch.setattr(TensorFlowRunner, "run", note)
    bring(folder, request(1.0), request(2.0, 3.0, signature="serving_default"))
    load(folder)
    assert asked == [[1.0], [2.0, 3.0]]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (request(11.0), "the model refused its inputs"),
        (request(1.0, signature="no"), "no"),
    ],
)
def test_a_model_that_fails_its_own_requests_is_refused(folder: Path, record: bytes, reason: str) -> None:
    """As TensorFlow Serving does: it is the author's own word for what the model should be able to do."""
    bring(folder, request(1.0), record)
    with pytest.raises(ValueError, match=f"^it fails request 1 of its own warm-up: .*{reason}"):
        load(folder)


def test_a_file_of_something_else_is_refused(folder: Path) -> None:
    bring(folder)
    (folder / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no record at all")
    with pytest.raises(tf.errors.DataLossError):
        load(folder)


def test_what_tensorflow_says_beside_its_errors_is_not_logged(folder: Path) -> None:
    load(folder)
    assert [logging.getLogger(name).isEnabledFor(logging.WARNING) for name in ("tensorflow", "absl")] == [False, False]
