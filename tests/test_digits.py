"""models/digits: what its card promises."""

import json
import multiprocessing
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from models.digits import train
from service.runners.litert import LiteRtRunner

FOLDER = Path(train.__file__).parent

Elsewhere = Callable[..., Any]


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """Calls a function in another process: TensorFlow's threads and determinism can be set only once in each."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def load(folder: Path = FOLDER / "1") -> Any:
    return tf.saved_model.load(str(folder))


def signatures() -> dict[str, tuple[str, str]]:
    return {
        name: (str(function.structured_input_signature[1]), str(function.structured_outputs))
        for name, function in load().signatures.items()
    }


def probabilities(images: train.Images) -> NDArray[np.float32]:
    return np.asarray(load().signatures["serving_default"](image=tf.constant(images))["probabilities"])


def accuracy() -> float:
    return train.accuracy(load(), train.split()[1])


def accuracy_of_a_short_training(folder: Path) -> float:
    train.STEPS = 150
    training, held_out = train.split()
    train.export(train.train(training), folder)
    assert (folder / "model.tflite").is_file()
    return train.accuracy(load(folder), held_out)


def test_there_is_one_signature_with_the_promised_tensors_and_a_free_batch(elsewhere: Elsewhere) -> None:
    image = {"image": tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")}
    answer = {"probabilities": tf.TensorSpec([None, 10], tf.float32, name="probabilities")}
    assert elsewhere(signatures) == {"serving_default": (str(image), str(answer))}


@pytest.mark.parametrize("rows", [1, 7, 300])  # none is refused before, and by oneDNN
def test_a_batch_of_any_size_gives_a_distribution_a_row(elsewhere: Elsewhere, rows: int) -> None:
    answer = elsewhere(probabilities, np.random.default_rng(rows).random((rows, 8, 8, 1), np.float32))
    assert answer.shape == (rows, 10)
    assert answer.min() >= 0
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-5)


def test_a_row_is_answered_alike_alone_and_in_a_batch(elsewhere: Elsewhere) -> None:
    images = train.split()[1].images[:16]
    alone = np.concatenate([elsewhere(probabilities, image[None]) for image in images])
    np.testing.assert_allclose(elsewhere(probabilities, images), alone, atol=1e-5)


def test_the_card_gives_the_accuracy_that_the_exported_model_has(elsewhere: Elsewhere) -> None:
    card = re.search(r"\*\*([\d.]+%)\*\* of (\d+) images", (FOLDER / "README.md").read_text())
    share = elsewhere(accuracy)
    assert card
    assert card.groups() == (f"{share:.2%}", str(len(train.split()[1].labels)))
    assert share >= 0.985


def test_the_model_for_litert_is_the_same_one(elsewhere: Elsewhere) -> None:
    images = train.split()[1].images
    lite = LiteRtRunner(FOLDER / "1" / "model.tflite", 1).run("serving_default", {"image": images})
    np.testing.assert_allclose(np.asarray(lite["probabilities"]), elsewhere(probabilities, images), atol=1e-5)


def test_no_held_out_image_is_trained_on() -> None:
    training, held_out = train.split()
    assert (len(training.images), len(held_out.images)) == (1437, 360)
    assert not {image.tobytes() for image in training.images} & {image.tobytes() for image in held_out.images}
    assert set(held_out.labels) == set(range(10))


def test_the_sample_is_a_held_out_image_that_is_classified_right(elsewhere: Elsewhere) -> None:
    images = np.array(json.loads((FOLDER / "sample.json").read_text())["instances"], np.float32)
    held_out = train.split()[1]
    assert images.shape == (1, 8, 8, 1)
    rows = [row for row, image in enumerate(held_out.images) if np.array_equal(image, images[0])]
    assert len(rows) == 1
    assert int(elsewhere(probabilities, images).argmax()) == held_out.labels[rows[0]]


def test_the_exported_model_is_small_and_free_of_keras() -> None:
    files = [path for path in (FOLDER / "1").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    assert not any("keras" in path.name for path in files)
    assert b"keras" not in (FOLDER / "1" / "saved_model.pb").read_bytes().lower()


def test_the_script_still_trains_and_exports(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """A tenth of the steps is enough to tell."""
    assert elsewhere(accuracy_of_a_short_training, tmp_path) > 0.8
