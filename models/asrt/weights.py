"""Reads weights as Keras 2 wrote them to HDF5: `save_weights` of the model, or of the same layers in training.

A group for each layer has an attribute `weight_names`, which are the paths of its arrays inside: `Conv0/kernel:0`. What
`save` writes has the same in a group `model_weights`; of a model inside a model, the names only begin otherwise.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from models.asrt.network import Floats, shapes


def read(path: Path, outputs: int) -> dict[str, Floats]:
    """Return the weights of a network with so many outputs by layer and name, `Conv0/kernel`.

    Raises OSError if it is no such file, ValueError with the first thing in it that does not fit.
    """
    try:
        with h5py.File(path) as file:
            arrays = dict(_arrays(file))
            if not arrays:
                raise ValueError(f"{path} holds no weights that Keras wrote")
            weights = {name: _checked(path, name, arrays, shape) for name, shape in shapes(outputs).items()}
    except OSError as error:
        raise OSError(f"{path}: {error}") from error
    if others := sorted(set(arrays) - set(weights)):
        raise ValueError(f"{path}: {others[0]} belongs to no layer of SpeechModel251BN")
    return weights


def _arrays(file: Any) -> Iterator[tuple[str, Any]]:
    for layer in file.get("model_weights", file).values():
        for name in layer.attrs.get("weight_names", ()):
            text = name.decode() if isinstance(name, bytes) else str(name)
            if text in layer:
                yield "/".join(text.split("/")[-2:]).removesuffix(":0"), layer[text]


def _checked(path: Path, name: str, arrays: dict[str, Any], shape: tuple[int, ...]) -> Floats:
    if name not in arrays:
        raise ValueError(f"{path}: SpeechModel251BN has {name}, the file has not")
    array = arrays[name]
    if getattr(array, "shape", None) != shape or array.dtype.kind != "f":
        raise ValueError(f"{path}: {name} should be floats {shape}, but is {array}")
    weights = np.asarray(array, np.float32)
    if not np.isfinite(weights).all():
        raise ValueError(f"{path}: {name} holds values that are no numbers")
    return weights
