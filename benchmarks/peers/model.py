"""The model as every peer calls it: the SavedModel in $BENCH_MODEL, by its signature's concrete function."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

Rows = np.ndarray[Any, np.dtype[np.float32]]


def load() -> Callable[[Any], Rows]:
    """Return a function from a batch of rows, as nested lists or an array, to the output's rows; it has run once."""
    saved = tf.saved_model.load(os.environ["BENCH_MODEL"])
    call = saved.signatures["serving_default"]

    def run(rows: Any, _keep: Any = saved) -> Rows:
        answer: Rows = call(x=tf.constant(rows, tf.float32))["y"].numpy()
        return answer

    run(np.zeros((1, *shape()), np.float32))
    return run


def shape() -> tuple[int, ...]:
    """Return the shape of one row."""
    return tuple(map(int, os.environ["BENCH_SHAPE"].split(",")))


def port() -> int:
    """Return where to listen."""
    return int(os.environ["BENCH_PORT"])
