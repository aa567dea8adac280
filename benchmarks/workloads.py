"""The models that the contenders serve, made here and the same every time, and the request bodies for them.

python -m benchmarks.workloads FOLDER
"""

import itertools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np


@dataclass(frozen=True)
class Workload:
    """A model from `x`, rows of `shape`, to `y`, ten probabilities; of each request one row."""

    name: str
    shape: tuple[int, ...]
    #: What costs the time. Widths of fully connected layers, or channels of convolutions, one after the other.
    widths: tuple[int, ...]
    #: Of TensorFlow, within an operation and between two, where it is fastest; 0: as many as there are processors.
    threads: int = 0

    def folder(self, models: Path) -> Path:
        """Return where the model lies, in TensorFlow Serving's layout."""
        return models / self.name

    def rows(self) -> bytes:
        """Return the body in the form of TensorFlow Serving's rows."""
        return json.dumps({"instances": [self._row().tolist()]}).encode()

    def tensor(self) -> bytes:
        """Return the same values in the Open Inference Protocol's JSON."""
        return json.dumps({"inputs": [{**self._described(), "data": self._row().ravel().tolist()}]}).encode()

    def binary(self) -> tuple[bytes, list[str]]:
        """Return the same as a binary tensor, and the headers that say so."""
        data = self._row().astype("<f4").tobytes()
        head = json.dumps(
            {"inputs": [{**self._described(), "parameters": {"binary_data_size": len(data)}}]}
        ).encode()  # fmt: skip
        length = f"Inference-Header-Content-Length: {len(head)}"
        return head + data, ["Content-Type: application/octet-stream", length]

    def _described(self) -> dict[str, Any]:
        return {"name": "x", "shape": [1, *self.shape], "datatype": "FP32"}

    def _row(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return numbers of six digits, as people send them."""
        return np.random.default_rng(7).standard_normal(self.shape).round(6)


#: So cheap that all the rest is what is measured.
TINY: Final = Workload("tiny", (32,), (256, 256), threads=1)
#: Some milliseconds a row, most of which go into reading weights: batches pay.
DENSE: Final = Workload("dense", (16,), (2048,) * 5)
#: 2 billion multiplications a row: batches do not pay, every processor is busy.
CONVOLUTIONS: Final = Workload("convolutions", (48, 48, 1), (128,) * 7)
#: A large input for which next to nothing is computed.
PICTURE: Final = Workload("picture", (224, 224, 3), ())

ALL: Final = (TINY, DENSE, CONVOLUTIONS, PICTURE)


def save(workload: Workload, models: Path) -> None:
    """Save the workload's model."""
    import tensorflow as tf  # noqa: PLC0415 - seconds long, and others only want the constants above

    module, planes = tf.Module(), len(workload.shape) == 3
    grid = (3, 3) if planes else ()
    module.layers = _weights(tf, grid, [workload.shape[-1], *workload.widths])
    (module.last,) = _weights(tf, (), [(workload.widths or workload.shape)[-1], 10])
    apply: Callable[[Any, Any], Any] = (lambda x, w: tf.nn.conv2d(x, w, 1, "SAME")) if planes else tf.matmul

    def classify(x: Any) -> dict[str, Any]:
        for weights in module.layers:
            x = tf.nn.relu(apply(x, weights))
        if planes:
            x = tf.reduce_mean(x, [1, 2])
        return {"y": tf.nn.softmax(x @ module.last)}

    module.classify = tf.function(
        classify, input_signature=[tf.TensorSpec([None, *workload.shape], tf.float32, name="x")]
    )
    tf.saved_model.save(module, str(workload.folder(models) / "1"), signatures=module.classify)


def _weights(tf: Any, grid: tuple[int, ...], widths: Sequence[int]) -> list[Any]:
    """Return a layer's weights between each two widths, of such a size that values keep theirs."""
    shapes = [(*grid, before, after) for before, after in itertools.pairwise(widths)]
    return [
        tf.Variable(tf.random.stateless_normal(shape, seed=[1, number], stddev=np.prod(shape[:-1]) ** -0.5))
        for number, shape in enumerate(shapes)
    ]


if __name__ == "__main__":
    for each in ALL:
        save(each, Path(sys.argv[1]))
