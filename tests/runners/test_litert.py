"""Real .tflite files: what is read of their signatures, what comes out, and what they say when they fail."""

import concurrent.futures
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import tensorflow as tf

from service.errors import InvalidRequest
from service.runners import litert
from service.runners.litert import LiteRtRunner
from service.types import ELEMENT_TYPES, Array, ElementType, Signature, TensorSpec
from tests.alone import ROOT, alone
from tests.runners.threads import noted

FLOAT: Final = ELEMENT_TYPES[0]
INT64: Final = next(element for element in ELEMENT_TYPES if element.oip == "INT64")
DIGITS: Final = ROOT / "models/digits/1/model.tflite"


def spec(name: str, shape: list[int | None] | None, dtype: Any = tf.float32) -> Any:
    """Return TensorFlow's own spec."""
    return tf.TensorSpec(shape, dtype, name)


def convert(folder: Path, signatures: Mapping[str, tuple[Any, list[Any]]], *, beyond: bool = False) -> Path:
    """Write a .tflite file: by signature a function and its arguments' specs; `beyond` LiteRT's own operations."""
    functions = {
        name: tf.function(body, input_signature=specs, autograph=False) for name, (body, specs) in signatures.items()
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=functions)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=list(signatures))
    if beyond:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    (folder / "model.tflite").write_bytes(converter.convert())
    return folder / "model.tflite"


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> LiteRtRunner:
    """Load one model of many signatures."""
    typed = {
        f"of_{element.numpy.name}": (
            lambda x: {"all": x},
            [spec("x", [None], tf.as_dtype(element.tensorflow.removeprefix("DT_").lower()))],
        )
        for element in ELEMENT_TYPES
    }
    others: dict[str, tuple[Any, list[Any]]] = {
        "serving_default": (lambda x: {"doubled": x * 2.0}, [spec("x", [None, 2])]),
        "two": (
            lambda b, a: {"z": tf.cast(a, tf.float32) + b, "a": a},
            [spec("b", [None, None]), spec("a", [None, 1], tf.int64)],
        ),
        "fixed": (lambda x: {"y": x + 1.0}, [spec("x", [2, 3])]),
        "total": (lambda x: {"y": tf.reduce_sum(x)}, [spec("x", [None])]),
        "first": (lambda x: {"y": x[0]}, [spec("x", [None], tf.string)]),
        "product": (lambda x: {"y": tf.matmul(x, tf.ones([3, 2]))}, [spec("x", [None, None])]),
        "picked": (lambda i: {"y": tf.gather([1.0, 2.0, 3.0], i)}, [spec("i", [None], tf.int32)]),
    }
    return LiteRtRunner(convert(tmp_path_factory.mktemp("model"), typed | others), 2)


def unsigned(file: Path) -> Path:
    """Strip a model of its signatures, as those are that no TensorFlow of today has made."""
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415 - half a megabyte of code
    from flatbuffers import Builder  # noqa: PLC0415 - LiteRT's

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(file.read_bytes(), 0))
    model.signatureDefs = None
    builder = Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    stripped = file.with_name("unsigned.tflite")
    stripped.write_bytes(builder.Output())
    return stripped


def test_signatures_are_as_in_the_saved_model_with_names_types_and_free_sizes(runner: LiteRtRunner) -> None:
    assert runner.signatures["two"] == Signature(
        {"a": TensorSpec(INT64, (None, 1), "two_a:0"), "b": TensorSpec(FLOAT, (None, None), "two_b:0")},
        runner.signatures["two"].outputs,
        "tensorflow/serving/predict",
    )
    outputs = {name: (s.element, s.shape) for name, s in runner.signatures["two"].outputs.items()}
    assert outputs == {"a": (INT64, (None, 1)), "z": (FLOAT, (None, None))}
    assert list(runner.signatures["two"].inputs) == ["a", "b"]


def test_a_fixed_first_size_does_not_batch(runner: LiteRtRunner) -> None:
    assert runner.signatures["serving_default"].batches
    assert runner.signatures["fixed"].inputs["x"].shape == (2, 3)
    assert runner.signatures["total"].outputs["y"].shape == ()
    assert not runner.signatures["fixed"].batches
    assert not runner.signatures["total"].batches


@pytest.mark.parametrize(
    ("body", "steady"),
    [
        (lambda x: {"y": x + 1.0}, True),
        (lambda x: {"y": tf.while_loop(lambda x: tf.reduce_any(x < 10.0), lambda x: [x + 3.0], [x])[0]}, False),
        (lambda x: {"y": tf.cond(x[0, 0] > 0.0, lambda: tf.exp(x), lambda: x)}, False),
        (lambda x: {"y": x + tf.reduce_sum(tf.range(x[0, 0]))}, False),
        (lambda x: {"y": x + tf.reduce_sum(tf.ones([tf.cast(x[0, 0], tf.int32)]))}, False),
        (lambda x: {"y": x + tf.cast(tf.argmax(x, axis=1), tf.float32)[:, None]}, True),
    ],
    ids=["once", "loop", "branch", "counted", "made a size", "made a number"],
)
def test_what_its_numbers_say_may_take_as_long_as_it_likes(tmp_path: Path, body: Any, *, steady: bool) -> None:
    path = convert(tmp_path, {"serving_default": (body, [spec("x", [None, 2])])})
    assert LiteRtRunner(path, 1).signatures["serving_default"].bounded is steady


def test_what_has_no_inputs_is_left_out_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    body = (lambda x: {"y": x + 1.0}, [spec("x", [None])])
    file = convert(tmp_path, {"serving_default": body, "inputless": (lambda: {"y": tf.constant(1.0)}, [])})
    assert set(LiteRtRunner(file, 1).signatures) == {"serving_default"}
    (record,) = caplog.records
    assert vars(record)["signatures"] == ["inputless"]


def test_a_model_without_signatures_is_called_by_the_names_of_its_tensors(tmp_path: Path) -> None:
    body = lambda b, a: {"z": tf.cast(a, tf.float32) + b}  # noqa: E731 - two arguments and one line
    file = convert(tmp_path, {"serving_default": (body, [spec("b", [None, 2]), spec("a", [None, 1], tf.int64)])})
    runner = LiteRtRunner(unsigned(file), 1)
    (name,) = runner.signatures
    assert name == "serving_default"
    signature = runner.signatures[name]
    assert set(signature.inputs) == {"serving_default_a:0", "serving_default_b:0"}
    assert signature.batches
    (output,) = signature.outputs
    for rows in (1, 3, 2):
        a, b = np.full((rows, 1), 2, np.int64), np.ones((rows, 2), np.float32)
        answer = runner.run(name, {"serving_default_a:0": a, "serving_default_b:0": b})
        assert answer[output].tolist() == [[3.0, 3.0]] * rows


@pytest.mark.parametrize("element", ELEMENT_TYPES, ids=lambda element: element.numpy.name)
def test_arrays_of_every_type_come_out_as_promised(runner: LiteRtRunner, element: ElementType) -> None:
    values = [b"\xff\x00", b"", "é".encode()] if element.is_string else [1, 0, 1]
    x: Array = np.array(values, element.numpy)
    answer = runner.run(f"of_{element.numpy.name}", {"x": x})["all"]
    assert answer.dtype == element.numpy
    np.testing.assert_array_equal(answer, x)


def test_scalars_come_out_as_arrays(runner: LiteRtRunner) -> None:
    for signature, x, expected in (
        ("total", np.arange(4, dtype=np.float32), np.array(6.0, np.float32)),
        ("first", np.array([b"a\xff", b"b"], object), np.array(b"a\xff", object)),
    ):
        answer = runner.run(signature, {"x": x})["y"]
        assert isinstance(answer, np.ndarray)
        assert (answer.shape, answer.dtype, answer.item()) == ((), expected.dtype, expected.item())


def test_batches_of_changing_sizes_are_each_answered_in_full(runner: LiteRtRunner) -> None:
    for rows in (1, 64, 7, 7, 0, 64, 1):
        x = np.random.default_rng(rows).random((rows, 2), np.float32)
        np.testing.assert_array_equal(runner.run("serving_default", {"x": x})["doubled"], x * 2)


def test_an_answer_stays_as_it_is_when_the_next_is_computed(runner: LiteRtRunner) -> None:
    first = runner.run("serving_default", {"x": np.ones((2, 2), np.float32)})["doubled"]
    runner.run("serving_default", {"x": np.zeros((2, 2), np.float32)})
    assert first.tolist() == [[2, 2], [2, 2]]


def test_arrays_that_are_parts_of_others_are_taken(runner: LiteRtRunner) -> None:
    whole = np.arange(24, dtype=np.float32).reshape(6, 4)
    for part in (whole[::2, 1:3], np.asfortranarray(whole[:, :2])):
        np.testing.assert_array_equal(runner.run("serving_default", {"x": part})["doubled"], part * 2)


def test_any_thread_may_compute(runner: LiteRtRunner) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        outputs = thread.submit(runner.run, "serving_default", {"x": np.ones((1, 2), np.float32)}).result()
    assert outputs["doubled"].tolist() == [[2, 2]]


@pytest.mark.parametrize(
    ("signature", "good", "bad", "said"),
    [
        ("product", {"x": np.ones((1, 3), np.float32)}, {"x": np.ones((1, 2), np.float32)}, "failed to prepare"),
        ("picked", {"i": np.array([2], np.int32)}, {"i": np.array([7], np.int32)}, "gather index out of bounds"),
        (
            "two",
            {"a": np.ones((2, 1), np.int64), "b": np.ones((2, 1), np.float32)},
            {"a": np.ones((2, 1), np.int64), "b": np.ones((3, 1), np.float32)},
            "failed to prepare",
        ),
    ],
)
def test_inputs_that_the_model_refuses_are_the_callers_fault_and_leave_no_trace(
    runner: LiteRtRunner, signature: str, good: dict[str, Array], bad: dict[str, Array], said: str
) -> None:
    before = runner.run(signature, good)
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=rf"^the model refused its inputs: [^\n]*{said}"):
            runner.run(signature, bad)
        for name, array in runner.run(signature, good).items():
            np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("first", ["serving_default", "zz"])
def test_operations_that_only_tensorflow_has_are_named_when_the_model_is_loaded(tmp_path: Path, first: str) -> None:
    """Wherever they are: of the second signature LiteRT itself says nothing until it is called."""
    bodies = [
        (lambda x: {"y": tf.linalg.det(x)}, [spec("x", [None, 2, 2])]),
        (lambda x: {"y": x + 1.0}, [spec("x", [None])]),
    ]
    names = sorted(["serving_default", "zz"], key=lambda name: name != first)
    file = convert(tmp_path, beyond=True, signatures=dict(zip(names, bodies, strict=True)))
    with pytest.raises(ValueError, match=f"^signature '{first}' needs the operation FlexMatrixDeterminant"):
        LiteRtRunner(file, 1)


@pytest.mark.parametrize(("quick", "threads"), [(math.inf, [1]), (0.0, [1, 3])])
def test_what_is_done_in_a_moment_is_done_by_one_thread(
    monkeypatch: pytest.MonkeyPatch, quick: float, threads: list[int]
) -> None:
    tried = noted(monkeypatch, litert, "_interpreter")
    monkeypatch.setattr(litert, "_QUICK", quick)
    runner = LiteRtRunner(DIGITS, 3)
    assert tried == threads
    outputs = runner.run("serving_default", {"image": np.zeros((5, 8, 8, 1), np.float32)})
    assert outputs["probabilities"].shape == (5, 10)


@pytest.mark.parametrize("size", [0, 1, 8, 1000, 100_000, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    file = tmp_path / "cut.tflite"
    file.write_bytes(DIGITS.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"not a valid Flatbuffer|the file is empty"):
        LiteRtRunner(file, 1)


def test_a_damaged_file_does_not_end_the_process(tmp_path: Path) -> None:
    """LiteRT verifies what it is given; some damage does no harm."""
    file, whole = tmp_path / "damaged.tflite", DIGITS.read_bytes()
    chance = random.Random(1)
    refused = 0
    for length in [1000] * 3 + [len(whole)] * 40:
        damaged = bytearray(whole[:length])
        for _ in range(3):
            damaged[chance.randrange(min(length, 2000))] = chance.randrange(256)
        file.write_bytes(bytes(damaged))
        try:
            LiteRtRunner(file, 1)
        except (ValueError, RuntimeError):
            refused += 1
    assert refused > 10
    file.write_bytes(chance.randbytes(5000))
    with pytest.raises(ValueError, match="not a valid Flatbuffer"):
        LiteRtRunner(file, 1)


def test_a_file_that_changes_under_a_loaded_model_does_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(DIGITS.read_bytes())
    runner = LiteRtRunner(file, 1)
    file.write_bytes(b"")
    assert runner.run("serving_default", {"image": np.zeros((3, 8, 8, 1), np.float32)})["probabilities"].shape == (
        3,
        10,
    )


def test_nothing_of_tensorflow_is_imported_nor_what_the_runtime_does_not_need() -> None:
    program = f"""
        import sys
        from pathlib import Path
        from service.app import load_model

        assert "ai_edge_litert" not in sys.modules
        print(*load_model(Path({str(DIGITS)!r})).signatures)
        needless = {{"tensorflow", "keras", "ml_dtypes", "scipy", "google", "flatbuffers", "tqdm"}}
        print(sorted(needless & set(sys.modules)))
    """
    assert alone(program).split("\n")[:2] == ["serving_default", "[]"]
