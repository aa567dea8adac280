"""`python -m service.convert`: what it makes, what it says of it, and when it refuses."""

import io
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from models.digits import train
from service import convert
from service.runners.litert import LiteRtRunner
from service.types import Array, Signature, Tensors
from tests.alone import ROOT

DIGITS: Final = ROOT / "models/digits/1"

pytestmark = [
    # TensorFlow's own calibration uses what it warns of.
    pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning"),
    # Keras 3.15 saves its variables by it.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave TensorFlow's threads as they are: they cannot be changed once it computes."""
    given = tf.config.threading.get_intra_op_parallelism_threads()
    monkeypatch.setattr("service.cpus.available", lambda: given or 1)
    if not given:
        monkeypatch.setattr("tensorflow.config.threading.get_intra_op_parallelism_threads", lambda: 1)


def run(*arguments: object) -> Outcome:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = convert.main([str(argument) for argument in arguments])
    return Outcome(status, out.getvalue(), err.getvalue())


def save(folder: Path, **signatures: tuple[Any, list[Any]]) -> Path:
    """Write a SavedModel: by signature a function and the specs of its arguments."""
    functions = {
        name: tf.function(body, input_signature=specs, autograph=False) for name, (body, specs) in signatures.items()
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=functions)
    return folder


def spec(name: str, shape: list[int | None], dtype: Any = tf.float32) -> Any:
    return tf.TensorSpec(shape, dtype, name)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the digits' data."""
    folder = tmp_path_factory.mktemp("data")
    train.save_data(folder)
    return folder


def test_every_signature_is_kept_with_its_names_and_compared(tmp_path: Path) -> None:
    source = save(
        tmp_path / "source",
        serving_default=(lambda x: {"double": x * 2.0}, [spec("x", [None, 3])]),
        mixed=(
            lambda ids, names: {"ids": ids + 1, "names": tf.identity(names)},
            [spec("ids", [None], tf.int32), spec("names", [None], tf.string)],
        ),
        total=(lambda x: {"sum": tf.reduce_sum(x)}, [spec("x", [None])]),
    )
    outcome = run(source, tmp_path / "made.tflite")
    assert (outcome.status, outcome.err) == (0, "")
    for line in (
        "serving_default: 33 rows, random",
        "  double: differs by at most 0 of its largest value",
        "mixed: 33 rows, random",
        "  names: differs by at most 0 of its largest value",
        "total: one call, random",
    ):
        assert f"{line}\n" in outcome.out
    signatures = LiteRtRunner(tmp_path / "made.tflite", 1).signatures
    assert {name: ([*s.inputs], [*s.outputs]) for name, s in signatures.items()} == {
        "serving_default": (["x"], ["double"]),
        "mixed": (["ids", "names"], ["ids", "names"]),
        "total": (["x"], ["sum"]),
    }


def test_a_keras_file_is_taken_with_the_names_that_it_is_served_by(tmp_path: Path) -> None:
    inputs = [tf.keras.Input((3,), name="left"), tf.keras.Input((3,), name="right")]
    answer = tf.keras.layers.Dense(2, name="answer")(tf.keras.layers.Concatenate()(inputs))
    tf.keras.Model(inputs, answer).save(tmp_path / "source.keras")
    outcome = run(tmp_path / "source.keras", tmp_path / "made.tflite")
    assert (outcome.status, outcome.err) == (0, "")
    (signature,) = LiteRtRunner(tmp_path / "made.tflite", 1).signatures.values()
    assert (list(signature.inputs), list(signature.outputs)) == (["left", "right"], ["answer"])


@pytest.mark.parametrize(("quantize", "largest"), [("none", 300), ("dynamic", 100), ("int8", 100)])
def test_the_digits_keep_their_accuracy_in_eight_bits_too(
    tmp_path: Path, digits: Path, quantize: str, largest: int
) -> None:
    target = tmp_path / "digits.tflite"
    data = ["--data", digits / "held_out.npz", "--calibrate", digits / "training.npz"]
    outcome = run(DIGITS, target, "--quantize", quantize, *data)
    assert outcome.status == 0, outcome.err
    assert "serving_default: 360 rows\n" in outcome.out
    assert "  probabilities: accuracy 98.89% before, 98.89% after\n" in outcome.out
    assert target.stat().st_size < largest * 1024


def test_a_file_that_differs_too_much_is_not_written(tmp_path: Path) -> None:
    target = tmp_path / "digits.tflite"
    target.write_bytes(b"what was there before")
    outcome = run(DIGITS, target, "--quantize", "dynamic", "--tolerance", "1e-6")
    assert outcome.status == 1
    assert "which is more than 1e-06: not written" in outcome.err
    assert target.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [target]


def test_what_litert_cannot_compute_is_told(tmp_path: Path) -> None:
    source = save(tmp_path / "source", serving_default=(lambda x: {"y": tf.linalg.det(x)}, [spec("x", [None, 2, 2])]))
    outcome = run(source, tmp_path / "made.tflite")
    assert outcome.status == 1
    assert "MatrixDeterminant" in outcome.err
    assert not (tmp_path / "made.tflite").exists()


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    outcome = run(DIGITS, tmp_path / "made.tflite", "--quantize", "int8")
    assert (outcome.status, outcome.err) == (1, "ConversionError: int8 needs --calibrate with image\n")
    outcome = run(tmp_path / "nothing", tmp_path / "made.tflite")
    assert outcome.status == 1
    assert str(tmp_path / "nothing") in outcome.err


class Fixed:
    """A runner that answers the same to everything."""

    platform = "none"
    reentrant = False

    def __init__(self, signature: Signature, answer: Array) -> None:
        self.signatures = {"serving_default": signature}
        self._answer = answer

    def run(self, signature: str, inputs: Mapping[str, Array]) -> Tensors:
        return {"probabilities": self._answer}


@pytest.mark.parametrize(
    ("expected", "found", "differs"),
    [
        ([[1.0, 4.0]], [[1.0, 4.0]], 0),
        ([[1.0, 4.0]], [[2.0, 4.0]], 0.25),
        ([[-4.0, 0.0]], [[-4.0, 1.0]], 0.25),
        ([[0.0, 0.0]], [[0.0, 0.5]], 0.5),
        ([[np.nan, np.inf]], [[np.nan, np.inf]], 0),
        ([[np.nan, 1.0]], [[1.0, 1.0]], np.inf),
        ([[1.0, 1.0]], [[np.nan, 1.0]], np.inf),
        ([[1.0, 1.0]], [[1.0]], np.inf),
        ([[np.inf, 1.0]], [[np.inf, 1.5]], 0.5),
    ],
)
def test_differences_are_shares_of_the_largest_value(expected: Any, found: Any, differs: float) -> None:
    signature = LiteRtRunner(DIGITS / "model.tflite", 1).signatures["serving_default"]
    before, after = (Fixed(signature, np.array(answer, np.float32)) for answer in (expected, found))
    with redirect_stdout(io.StringIO()):
        assert convert.compare(before, after, {"image": np.zeros((1, 8, 8, 1), np.float32)}) == differs
