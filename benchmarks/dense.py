"""A model for benchmarks: some milliseconds for one row, most of which go into reading its weights, so batches pay.

python -m benchmarks.dense FOLDER
"""

import itertools
import sys
from pathlib import Path
from typing import Any, Final

INPUTS: Final = 16
_WIDTH, _LAYERS, _CLASSES = 2048, 4, 10


def save(folder: Path) -> None:
    """Save the model in TensorFlow Serving's layout."""
    import tensorflow as tf  # noqa: PLC0415 - seconds long, and others only want the constant above

    widths = [INPUTS, *[_WIDTH] * (_LAYERS + 1), _CLASSES]
    module = tf.Module()
    module.weights = [
        tf.Variable(tf.random.stateless_normal([before, after], seed=[1, number], stddev=before**-0.5))
        for number, (before, after) in enumerate(itertools.pairwise(widths))
    ]

    def classify(x: Any) -> dict[str, Any]:
        for weights in module.weights[:-1]:
            x = tf.nn.relu(x @ weights)
        return {"y": tf.nn.softmax(x @ module.weights[-1])}

    module.classify = tf.function(classify, input_signature=[tf.TensorSpec([None, INPUTS], tf.float32, name="x")])
    tf.saved_model.save(module, str(folder / "1"), signatures=module.classify)


if __name__ == "__main__":
    save(Path(sys.argv[1]))
