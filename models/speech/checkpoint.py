"""The one file that a training can be resumed from, on any machine."""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

PATH: Final = Path(__file__).resolve().parent / "checkpoint.npz"

Weights = dict[str, NDArray[np.float32]]


class Checkpoint(NamedTuple):
    """The weights, their running average, and of every epoch done: training loss, error with tones, error without.

    The optimiser's moments are not kept: they are found again within a few steps, and would double the file.
    """

    weights: Weights
    average: Weights
    history: NDArray[np.float32]


def write(path: Path, state: Checkpoint) -> None:
    """Write the file, weights in half precision. Whoever reads it meanwhile finds the old one or the new one."""
    groups = {"weights": state.weights, "average": state.average}
    arrays: dict[str, Any] = {"history": state.history}
    for group, values in groups.items():
        arrays |= {f"{group}/{name}": value.astype(np.float16) for name, value in values.items()}
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        np.savez(file, **arrays)
    fresh.replace(path)


def read(path: Path) -> Checkpoint:
    """Return what `write` wrote, in single precision. Raises OSError."""
    with np.load(path) as file:
        arrays = {name: file[name].astype(np.float32) for name in file.files}
    groups: dict[str, Weights] = {"weights": {}, "average": {}}
    for name, array in arrays.items():
        group, _, weight = name.partition("/")
        if weight:
            groups[group][weight] = array
    return Checkpoint(groups["weights"], groups["average"], arrays["history"])
