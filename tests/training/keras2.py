"""ASRT's network by Keras, and its weights in files as Keras 2 wrote them."""

from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import tensorflow as tf

from models.asrt import network

FILTERS: Final = (32, 32, 64, 64, 128, 128, 128, 128, 128, 128)


def keras_model(outputs: int) -> Any:
    """Return the network as it is documented: 1600 frames in, 200 out."""
    layers = tf.keras.layers
    x = entry = layers.Input((1600, 200, 1), name="the_input")
    for number, filters in enumerate(FILTERS):
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name=f"Conv{number}")(x)
        x = layers.BatchNormalization(epsilon=0.0002, name=f"BN{number}")(x)
        x = layers.Activation("relu", name=f"Act{number}")(x)
        if number % 2:
            x = layers.MaxPooling2D(2 if number < 6 else 1)(x)
    x = layers.Reshape((200, 3200), name="Reshape0")(x)
    x = layers.Dense(128, activation="relu", kernel_initializer="he_normal", name="Dense0")(x)
    x = layers.Dense(outputs, kernel_initializer="he_normal", name="Dense1")(x)
    return tf.keras.Model(entry, layers.Activation("softmax", name="Activation0")(x))


def random_weights(outputs: int, seed: int = 1) -> dict[str, network.Floats]:
    """Return weights as of a trained network: no bias and no statistic is what it was at first."""
    random = np.random.default_rng(seed)
    weights = network.initial_weights(outputs, seed)
    for name, shape in network.shapes(outputs).items():
        if name.endswith(("gamma", "variance")):
            weights[name] = random.uniform(0.5, 1.5, shape).astype(np.float32)
        elif not name.endswith("kernel"):
            weights[name] = random.normal(0, 0.3, shape).astype(np.float32)
    return weights


def write(path: Path, weights: network.Weights, *, training: bool = False, form: str = "layers") -> Path:
    """Write a file of weights: of the layers, of a `saved` model, or of a model `nested` in another."""
    names = ["the_input", *(f"{kind}{number}" for number in range(10) for kind in ("Conv", "BN", "Act"))]
    names += ["Reshape0", "Dense0", "Dense1", "Activation0"]
    names += ["the_labels", "input_length", "label_length", "ctc"] if training else []
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if form == "saved" else file
        root.attrs["backend"], root.attrs["keras_version"] = b"tensorflow", b"2.8.0"
        root.attrs["layer_names"] = [name.encode() for name in (["base"] if form == "nested" else names)]
        for layer in ["base"] if form == "nested" else names:
            group = root.create_group(layer)
            owned = [name for name in weights if form == "nested" or name.startswith(f"{layer}/")]
            group.attrs["weight_names"] = [f"{name}:0".encode() for name in owned]
            for name in owned:
                group.create_dataset(f"{name}:0", data=weights[name])
    return path
