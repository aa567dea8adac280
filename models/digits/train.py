"""Trains the bundled digit classifier, exports it as `1/` beside this file and prints its held-out accuracy.

`python models/digits/train.py` takes about a minute on two cores and needs what `make install` installs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent
SEED = 1797
CHANNELS = (32, 64, 64)
STEPS, BATCH, LEARNING_RATE = 1500, 128, 3e-3

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


class Digits(NamedTuple):
    """Images FP32 [n, 8, 8, 1] in 0..1 and their classes int64 [n]."""

    images: Images
    labels: Labels


def split() -> tuple[Digits, Digits]:
    """Return what is trained on and what is held out: the last fifth of the file, which is in no random order.

    Neighbours in the file are alike, probably by one hand, so a random fifth would have had its neighbours trained on.
    """
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    cut = len(images) * 4 // 5
    return Digits(images[:cut], labels[:cut]), Digits(images[cut:], labels[cut:])


def logits(images: tf.Tensor, weights: Sequence[Any]) -> tf.Tensor:
    """Return FP32 [n, 10] of the network: two convolutions, a pooling, a convolution, a dense layer."""
    kernel1, bias1, kernel2, bias2, kernel3, bias3, dense, bias4 = weights
    x = tf.nn.relu(tf.nn.conv2d(images, kernel1, 1, "SAME") + bias1)
    x = tf.nn.relu(tf.nn.conv2d(x, kernel2, 1, "SAME") + bias2)
    x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    x = tf.nn.relu(tf.nn.conv2d(x, kernel3, 1, "SAME") + bias3)
    return tf.matmul(tf.reshape(x, [-1, dense.shape[0]]), dense) + bias4


def train(data: Digits) -> list[NDArray[np.float32]]:
    """Return weights fitted to `data`, distorted anew in every batch; the same ones on the same machine."""
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    weights = _initial_weights()
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(LEARNING_RATE, STEPS))
    optimizer.build(weights)

    def step(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits(x, weights)))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    run, random = tf.function(step), np.random.default_rng(SEED)
    for _ in range(STEPS):
        rows = random.integers(len(data.images), size=BATCH)
        run(_distorted(data.images[rows], random), data.labels[rows])
    return [weight.numpy() for weight in weights]


def export(weights: Sequence[NDArray[np.float32]], folder: Path) -> None:
    """Write a SavedModel without Keras to `folder`; its weights are constants of the one signature's graph.

    Beside it goes `model.tflite`, the same for LiteRT.
    """

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": tf.nn.softmax(logits(image, weights))}

    image = tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")
    signatures = {"serving_default": tf.function(serve, input_signature=[image])}
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    (folder / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())


def save_data(folder: Path) -> None:
    """Write training.npz and held_out.npz to `folder`, as `python -m service.convert` reads them."""
    for name, data in zip(("training", "held_out"), split(), strict=True):
        np.savez(folder / f"{name}.npz", image=data.images, labels=data.labels)


def accuracy(model: Any, data: Digits) -> float:
    """Return the share of `data` that `model`, as tf.saved_model.load gives it, classifies right."""
    probabilities = model.signatures["serving_default"](image=tf.constant(data.images))["probabilities"]
    return float(np.mean(np.argmax(probabilities, axis=1) == data.labels))


def main() -> None:
    """Train, export, measure what was exported, and write the first held-out image as a request's body."""
    training, held_out = split()
    export(train(training), HERE / "1")
    share = accuracy(tf.saved_model.load(str(HERE / "1")), held_out)
    print(f"trained on {len(training.labels)} images")
    print(f"held-out accuracy: {share:.2%} of {len(held_out.labels)} images")
    body = json.dumps({"instances": [held_out.images[0].tolist()]}, separators=(",", ":"))
    (HERE / "sample.json").write_text(body + "\n")
    print(f"sample.json shows a {held_out.labels[0]}")


def _distorted(images: Images, random: np.random.Generator) -> tf.Tensor:
    """Return every image turned, sized, slanted and shifted a little, about as hands differ."""
    count, centre = len(images), 3.5
    angle, size = random.normal(0, 0.15, count), random.normal(1, 0.08, count)
    slant, shift = random.normal(0, 0.1, count), random.uniform(-1, 1, (2, count))
    a, b = size * np.cos(angle), size * (np.sin(angle) + slant)
    c, d = -size * np.sin(angle), size * np.cos(angle)
    # Each pixel (x, y) is taken from (ax + by + e, cx + dy + f), the centre from near the centre.
    e, f = centre * (1 - np.stack([a + b, c + d])) + shift
    zero = np.zeros(count)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=np.stack([a, b, e, c, d, f, zero, zero], axis=1).astype(np.float32),
        output_shape=[8, 8],
        fill_value=0.0,
        interpolation="BILINEAR",
    )


def _initial_weights() -> list[Any]:
    """Return kernels by He's rule and zero biases, in the order that `logits` takes them."""
    shapes = [[3, 3, before, after] for before, after in zip((1, *CHANNELS), CHANNELS, strict=False)]
    shapes.append([4 * 4 * CHANNELS[-1], 10])
    kernels = [tf.random.normal(shape, stddev=float(np.sqrt(2 / np.prod(shape[:-1])))) for shape in shapes]
    return [tf.Variable(value) for kernel in kernels for value in (kernel, tf.zeros(kernel.shape[-1]))]


if __name__ == "__main__":
    main()
