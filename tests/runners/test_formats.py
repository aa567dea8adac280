"""Models as others save them: `.keras` files of every structure, and SavedModels that hold more than they serve."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import tensorflow as tf

from service.runners.tensorflow import TensorFlowRunner
from service.types import ELEMENT_TYPES, Array, TensorSpec
from tests.runners.test_tensorflow import load

#: Keras' own, while it saves.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built:UserWarning"),
]

keras: Final[Any] = tf.keras
FLOAT, STRING = ELEMENT_TYPES[0], ELEMENT_TYPES[-1]
ROW: Final[Array] = np.array([[1.0, 2.0, 3.0]], np.float32)


def kept(model: Any, folder: Path) -> TensorFlowRunner:
    """Save a Keras model as one file and load it."""
    model.save(folder / "model.keras")
    return load(folder / "model.keras")


def numbers(array: Array) -> Any:
    """Return an array's numbers."""
    return array.astype(np.float32)


def names(runner: TensorFlowRunner) -> tuple[list[str], list[str]]:
    """Return the names of inputs and outputs."""
    signature = runner.signatures["serving_default"]
    return list(signature.inputs), list(signature.outputs)


def test_a_keras_file_is_one_signature_named_by_its_layers(tmp_path: Path) -> None:
    image = keras.Input((3,), name="image")
    model = keras.Model(image, keras.layers.Dense(2, name="probabilities")(image))
    runner = kept(model, tmp_path)
    signature = runner.signatures["serving_default"]
    assert signature.inputs == {"image": TensorSpec(FLOAT, (None, 3), "image:0")}
    assert [(name, spec.element, spec.shape) for name, spec in signature.outputs.items()] == [
        ("probabilities", FLOAT, (None, 2))
    ]
    assert (signature.batches, signature.method) == (True, "tensorflow/serving/predict")
    outputs = runner.run("serving_default", {"image": ROW})
    np.testing.assert_allclose(numbers(outputs["probabilities"]), model(ROW), rtol=1e-6)


def test_what_behaves_differently_in_training_behaves_as_in_service(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.9), keras.layers.BatchNormalization()])
    outputs = kept(model, tmp_path).run("serving_default", {"input_layer": ROW})
    np.testing.assert_allclose(numbers(outputs["batch_normalization"]), numbers(ROW), rtol=1e-2)


def test_names_are_the_same_however_often_a_file_is_loaded(tmp_path: Path) -> None:
    keras.backend.clear_session()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    assert names(kept(model, tmp_path)) == names(load(tmp_path / "model.keras")) == (["input_layer"], ["dense"])


def test_several_inputs_and_outputs_are_named_by_their_layers_or_by_their_keys(tmp_path: Path) -> None:
    a, b = keras.Input((1,), name="b-side"), keras.Input((1,), name="a.side")
    plus, minus = keras.layers.Add(name="plus")([a, b]), keras.layers.Subtract(name="minus")([a, b])
    inputs: dict[str, Array] = {"b-side": np.array([[3.0]], np.float32), "a.side": np.array([[1.0]], np.float32)}
    for model, answers in (
        (keras.Model([a, b], [plus, minus]), {"plus": 4, "minus": 2}),
        (keras.Model({"b-side": a, "a.side": b}, {"sum": plus, "difference": minus}), {"sum": 4, "difference": 2}),
    ):
        outputs = kept(model, tmp_path).run("serving_default", inputs)
        assert {name: array.item() for name, array in outputs.items()} == answers


def test_two_outputs_of_one_layer_are_told_apart(tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    runner = kept(keras.Model(x, keras.layers.LSTM(2, return_state=True, name="lstm")(x[:, :, None])), tmp_path)
    assert names(runner)[1] == ["lstm_0", "lstm_1", "lstm_2"]
    assert runner.run("serving_default", {"x": ROW})["lstm_2"].shape == (1, 2)


def test_strings_go_through_a_keras_files_vocabulary(tmp_path: Path) -> None:
    text = keras.Input((), name="text", dtype="string")
    runner = kept(keras.Model(text, keras.layers.StringLookup(vocabulary=["a", "b"], name="index")(text)), tmp_path)
    assert runner.signatures["serving_default"].inputs["text"].element == STRING
    words: Array = np.array([b"b", b"?"], np.dtype("O"))
    assert runner.run("serving_default", {"text": words})["index"].tolist() == [2, 0]


def test_code_in_a_keras_file_is_refused_not_run(tmp_path: Path) -> None:
    """It could be anything; who means it exports a SavedModel, whose graph can do less."""
    x = keras.Input((3,), name="x")
    with pytest.raises(ValueError, match="Lambda"):
        kept(keras.Model(x, keras.layers.Lambda(lambda y: y * 2)(x)), tmp_path)


def test_a_keras_model_without_inputs_of_its_own_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not say what its inputs are: export it as a SavedModel$"):
        kept(keras.Sequential([keras.layers.Dense(1)]), tmp_path)


def test_a_cut_keras_file_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(100)])
    model.save(tmp_path / "model.keras")
    content = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "model.keras").write_bytes(content[: len(content) // 2])
    with pytest.raises(Exception, match=r"zip|keras"):
        load(tmp_path / "model.keras")


def test_a_cut_saved_model_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    module = tf.Module()
    module.weights = tf.Variable(tf.random.normal([64, 64]))
    spec = tf.TensorSpec([None, 64], name="x")
    serve = tf.function(lambda x: {"y": x @ module.weights}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": serve})
    assert load(tmp_path)
    for file in [tmp_path / "saved_model.pb", *(tmp_path / "variables").iterdir()]:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(Exception):  # noqa: B017 - each says it in its own way
            load(tmp_path)
        file.write_bytes(content)
    assert load(tmp_path)
