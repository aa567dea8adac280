"""Runs a TensorFlow model."""

import contextlib
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from service.errors import InvalidRequest, ModelFailed
from service.memory import for_good
from service.runners import formats, graphs, recorded
from service.types import Tensors

_LONGEST: Final = 512
_REASON: Final = re.compile(
    r"(?:.*<stack traces unavailable>\n)?(?:{{function_node \S+}} )?(.+?)(?:\[\[{{|\[Op:|\Z)", re.DOTALL
)


class TensorFlowRunner:
    """A model's signatures."""

    platform: Final = "tensorflow_savedmodel"

    def __init__(self, path: Path, threads: int) -> None:
        """Load the SavedModel in the folder `path`, or the `.keras` file, and have it answer the requests it brought.

        TensorFlow computes on `threads` processors. Raises ValueError if there is no signature that can be served or
        the model fails its own requests, and whatever TensorFlow raises.
        """
        self._tf = _tensorflow(threads)
        self._root, self._functions, self.signatures = (graphs if path.is_dir() else formats).load(self._tf, path)
        for number, (signature, inputs) in enumerate(
            recorded.requests(self._tf, path if path.is_dir() else path.parent)
        ):
            try:
                self.run(signature, inputs)
            except Exception as error:
                raise ValueError(
                    f"it fails request {number} of its own warm-up: {type(error).__name__}: {error}"
                ) from error

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """Compute; see Runner. Raises InvalidRequest for inputs that the model refuses, else what TensorFlow raises."""
        tf, outputs = self._tf, self.signatures[signature].outputs
        try:
            answer = self._functions[signature](**inputs)
        except tf.errors.InvalidArgumentError as error:  # TensorFlow Serving, too, answers 400
            raise InvalidRequest(f"the model refused its inputs: {_reason(error)}") from error
        except tf.errors.OpError as error:
            raise ModelFailed(f"the model failed: {type(error).__name__}: {_reason(error)}") from error
        # A scalar is no array to TensorFlow.
        return {name: np.asarray(answer[name], spec.element.numpy) for name, spec in outputs.items()}


def _tensorflow(threads: int) -> Any:
    """Import TensorFlow and bound its thread pools: it counts the machine's processors, not the container's."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with for_good() if "tensorflow" not in sys.modules else contextlib.nullcontext():
        import tensorflow as tf  # noqa: PLC0415 - seconds long, so only where a model needs it

    for name in ("tensorflow", "absl"):  # they speak of what is of no use here, such as an optimizer's lost state
        logging.getLogger(name).setLevel(logging.ERROR)
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # Operations take all processors one after the other: side by side they would mostly wait for each other.
        tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


def _reason(error: Any) -> str:
    """Return what is wrong out of an OpError's message, which also tells where: before it or behind, or both."""
    found = _REASON.match(error.message)
    return " ".join((found[1] if found else error.message).split())[:_LONGEST]
