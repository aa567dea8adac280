"""models/digits: what its card promises."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.digits import train

FOLDER = Path(train.__file__).parent


@pytest.fixture(scope="module")
def model() -> Any:
    return tf.saved_model.load(str(FOLDER / "1"))


def probabilities(model: Any, images: train.Images) -> np.ndarray[Any, np.dtype[np.float32]]:
    answer = model.signatures["serving_default"](image=tf.constant(images))
    return np.asarray(answer["probabilities"])


def test_there_is_one_signature_with_the_promised_tensors_and_a_free_batch(model: Any) -> None:
    assert list(model.signatures) == ["serving_default"]
    signature = model.signatures["serving_default"]
    assert signature.structured_input_signature[1] == {
        "image": tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")
    }
    output = signature.structured_outputs["probabilities"]
    assert (output.dtype, output.shape.as_list()) == (tf.float32, [None, 10])
    assert list(signature.structured_outputs) == ["probabilities"]


@pytest.mark.parametrize("rows", [0, 1, 7, 300])
def test_a_batch_of_any_size_gives_a_distribution_a_row(model: Any, rows: int) -> None:
    images = np.random.default_rng(rows).random((rows, 8, 8, 1), np.float32)
    answer = probabilities(model, images)
    assert answer.shape == (rows, 10)
    assert answer.min(initial=0) >= 0
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-5)


def test_a_row_is_answered_alike_alone_and_in_a_batch(model: Any) -> None:
    images = train.split()[1].images[:16]
    alone = np.concatenate([probabilities(model, image[None]) for image in images])
    np.testing.assert_allclose(probabilities(model, images), alone, atol=1e-5)


def test_the_card_gives_the_accuracy_that_the_exported_model_has(model: Any) -> None:
    held_out = train.split()[1]
    card = re.search(r"\*\*([\d.]+%)\*\* of (\d+) images", (FOLDER / "README.md").read_text())
    assert card
    assert card.groups() == (f"{train.accuracy(model, held_out):.2%}", str(len(held_out.labels)))
    assert train.accuracy(model, held_out) >= 0.985


def test_no_held_out_image_is_trained_on() -> None:
    training, held_out = train.split()
    assert (len(training.images), len(held_out.images)) == (1437, 360)
    assert not {image.tobytes() for image in training.images} & {image.tobytes() for image in held_out.images}
    assert set(held_out.labels) == set(range(10))


def test_the_sample_is_a_held_out_image_that_is_classified_right(model: Any) -> None:
    instances = json.loads((FOLDER / "sample.json").read_text())["instances"]
    held_out = train.split()[1]
    images = np.array(instances, np.float32)
    assert images.shape == (1, 8, 8, 1)
    rows = [row for row, image in enumerate(held_out.images) if np.array_equal(image, images[0])]
    assert len(rows) == 1
    assert int(probabilities(model, images).argmax()) == held_out.labels[rows[0]]


def test_the_exported_model_is_small_and_free_of_keras() -> None:
    files = [path for path in (FOLDER / "1").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    assert not any(path.name == "keras_metadata.pb" for path in files)
    assert b"keras" not in (FOLDER / "1" / "saved_model.pb").read_bytes().lower()


def test_training_takes_the_loss_down_and_exports_what_it_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of the steps is enough to tell that the script still does its work."""
    monkeypatch.setattr(train, "STEPS", 150)
    training, held_out = train.split()
    train.export(train.train(training), tmp_path)
    assert train.accuracy(tf.saved_model.load(str(tmp_path)), held_out) > 0.8
