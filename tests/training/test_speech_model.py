"""models/speech/1: what its card promises, through the runner that serves it."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.speech import checkpoint, export, network
from models.speech.labels import LABELS
from service.runners.litert import LiteRtRunner
from service.runners.tensorflow import TensorFlowRunner
from service.types import Runner

MODEL = Path(export.__file__).parent / "1"


@cache
def runner() -> Runner:
    """Load the model, without a change of the threads that this process may have settled on already."""
    return TensorFlowRunner(MODEL, tf.config.threading.get_intra_op_parallelism_threads())


def scores(samples: Any, *lengths: int) -> tuple[Any, Any]:
    answer = runner().run("serving_default", {"samples": samples, "lengths": np.array(lengths, np.int32)})
    return answer["scores"], answer["frames"]


def noise(*shape: int) -> network.Floats:
    return np.random.default_rng(2).normal(0, 0.1, shape).astype(np.float32)


def test_there_is_one_signature_with_the_promised_tensors() -> None:
    (signature,) = runner().signatures.values()
    tensors = {**signature.inputs, **signature.outputs}
    assert {name: (spec.element.oip, spec.shape) for name, spec in tensors.items()} == {
        "samples": ("FP32", (None, None)),
        "lengths": ("INT32", (None,)),
        "scores": ("FP32", (None, None, len(LABELS))),
        "frames": ("INT32", (None,)),
    }
    assert signature.batches


def test_its_labels_are_those_it_was_trained_with() -> None:
    assert (MODEL / "assets.extra/labels.txt").read_text(encoding="utf-8").splitlines() == LABELS


@pytest.mark.parametrize("count", [0, 1, 159, 160, 161, 480, 481, 960, 961, 16000, 160001])
def test_any_length_gives_a_frame_for_every_30_ms_begun(count: int) -> None:
    found, frames = scores(noise(1, count), count)
    assert frames.tolist() == [-(-count // 480)]
    assert found.shape == (1, max(1, frames[0]), len(LABELS))
    np.testing.assert_allclose(np.exp(found).sum(axis=2), 1, rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 3, 33])  # none is refused before, and by oneDNN
def test_any_number_of_rows_is_answered(rows: int) -> None:
    found, frames = scores(noise(rows, 2000), *[2000] * rows)
    assert found.shape == (rows, 5, len(LABELS))
    assert frames.tolist() == [5] * rows


@pytest.mark.parametrize("padding", [0.0, 1.0, np.nan])
def test_a_row_is_answered_alike_alone_and_padded_among_others(padding: float) -> None:
    alone, _ = scores(noise(1, 9001), 9001)
    padded = np.pad(noise(1, 9001), ((0, 0), (0, 20000)), constant_values=padding)
    together, frames = scores(np.concatenate([padded, noise(2, 29001)]), 9001, 29001, 3)
    assert frames.tolist() == [19, 61, 1]
    np.testing.assert_allclose(together[0, :19], alone[0], atol=1e-3)
    assert (together[0, 19:].argmax(axis=1) == len(LABELS) - 1).all()


def test_it_is_what_the_checkpoint_holds() -> None:
    samples, lengths = noise(2, 8000), np.array([8000, 5000], np.int32)
    expected, _ = network.scores(tf.constant(samples), tf.constant(lengths), checkpoint.read(checkpoint.PATH).average)
    np.testing.assert_allclose(scores(samples, *lengths)[0], expected.numpy(), atol=1e-3)


def test_the_card_gives_the_errors_that_were_measured_after_training() -> None:
    card = (MODEL.parent / "README.md").read_text(encoding="utf-8")
    clean = re.search(r"\| clean \|(( [\d.]+% \|){8})\n", card)
    assert clean
    percent = np.array([float(number) for number in re.findall(r"[\d.]+", clean[1])]).reshape(2, 4).mean(axis=0)
    np.testing.assert_allclose(percent[3], 100 * checkpoint.read(checkpoint.PATH).history[-1, 1], atol=0.2)


def test_the_exported_model_is_small_and_free_of_keras() -> None:
    graph = (MODEL / "saved_model.pb").read_bytes()
    assert len(graph) < 10_000_000
    assert b"keras" not in graph.lower()


def test_exporting_leaves_what_else_lies_beside_the_labels(tmp_path: Path) -> None:
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra/language.npz").write_text("kept")
    export.export(network.initial_weights(1), tmp_path)
    assert sorted(path.name for path in (tmp_path / "assets.extra").iterdir()) == ["labels.txt", "language.npz"]
    assert b"halfway" not in (tmp_path / "saved_model.pb").read_bytes()


def test_there_is_no_exported_model_before_its_labels(tmp_path: Path) -> None:
    """A pod that watches the folder would take it for one that is not of speech."""
    (tmp_path / "assets.extra/labels.txt").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        export.export(network.initial_weights(1), tmp_path)
    assert not (tmp_path / "saved_model.pb").exists()


def test_the_model_for_litert_is_the_same_one() -> None:
    inputs = {"samples": noise(2, 20000), "lengths": np.array([20000, 7000], np.int32)}
    answer = LiteRtRunner(MODEL / "model.tflite", 1).run("serving_default", inputs)
    expected, frames = scores(inputs["samples"], *inputs["lengths"])
    assert answer["frames"].tolist() == frames.tolist()
    np.testing.assert_allclose(np.asarray(answer["scores"], np.float32), expected, atol=1e-2)
