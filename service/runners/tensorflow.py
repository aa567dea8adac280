"""Runs a TensorFlow model."""

import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from service.errors import InvalidRequest, ModelFailed
from service.runners import formats, imports, recorded
from service.types import Tensors

_LONGEST: Final = 512
_REASON: Final = re.compile(
    r"(?:.*<stack traces unavailable>\n)?(?:{{function_node \S+}} )?(.+?)(?:\[\[{{|\[Op:|\Z)", re.DOTALL
)


class TensorFlowRunner:
    """A model's signatures."""

    platform: Final = "tensorflow_savedmodel"
    reentrant: Final = True

    def __init__(self, path: Path, threads: int) -> None:
        """Load the SavedModel in the folder `path`, or the `.keras` file, and have it answer the requests it brought.

        TensorFlow computes on `threads` processors. Raises ValueError if there is no signature that can be served or
        the model fails its own requests, and whatever TensorFlow raises.
        """
        self._root, self._functions, self.signatures = _load(path, threads)
        from tensorflow.python.framework import errors  # noqa: PLC0415 - seconds long, so only where a model needs it

        self._errors = errors
        for number, (signature, inputs) in enumerate(recorded.requests(path if path.is_dir() else path.parent)):
            try:
                self.run(signature, inputs)
            except Exception as error:
                raise ValueError(
                    f"it fails request {number} of its own warm-up: {type(error).__name__}: {error}"
                ) from error

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """Compute; see Runner. Raises InvalidRequest for inputs that the model refuses, else what TensorFlow raises."""
        errors, outputs = self._errors, self.signatures[signature].outputs
        try:
            answer = self._functions[signature](**inputs)
        except errors.InvalidArgumentError as error:  # TensorFlow Serving, too, answers 400
            raise InvalidRequest(f"the model refused its inputs: {_reason(error)}") from error
        except errors.OpError as error:
            raise ModelFailed(f"the model failed: {type(error).__name__}: {_reason(error)}") from error
        # A scalar is no array to TensorFlow.
        return {name: np.asarray(answer[name], spec.element.numpy) for name, spec in outputs.items()}


def _load(path: Path, threads: int) -> formats.Loaded:
    if path.is_file():
        return formats.load(imports.whole(threads), path)
    imports.for_graphs()
    from service.runners import graphs  # noqa: PLC0415 - it is made of them

    return graphs.load(path, threads)


def _reason(error: Any) -> str:
    """Return what is wrong out of an OpError's message, which also tells where: before it or behind, or both."""
    found = _REASON.match(error.message)
    return " ".join((found[1] if found else error.message).split())[:_LONGEST]
