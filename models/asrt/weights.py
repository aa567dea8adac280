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

    Raises OSError if the file cannot be read, ValueError with the first thing that does not fit.
    """
    with path.open("rb") as file:
        if not h5py.is_hdf5(file):
            raise ValueError(f"{path} is no HDF5 file")
        with h5py.File(file) as content:
            arrays = dict(_arrays(content))
            if not arrays:
                raise ValueError(f"{path} holds no weights that Keras wrote")
            weights = {name: _checked(path, name, arrays, shape) for name, shape in shapes(outputs).items()}
    if others := sorted(set(arrays) - set(weights)):
        raise ValueError(f"{path}: {others[0]} belongs to no layer of SpeechModel251BN")
    return weights


def _arrays(content: Any) -> Iterator[tuple[str, Any]]:
    for layer in content.get("model_weights", content).values():
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
