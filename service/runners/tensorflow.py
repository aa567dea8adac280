"""Runs a TensorFlow SavedModel."""

import logging
import os
import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from service.errors import InvalidRequest, ModelFailed
from service.types import ELEMENT_TYPES, Signature, Tensors, TensorSpec

_ELEMENTS: Final = {element.tensorflow: element for element in ELEMENT_TYPES}
_TAG: Final = "serve"
_LONGEST: Final = 512
_REASON: Final = re.compile(
    r"(?:.*<stack traces unavailable>\n)?(?:{{function_node \S+}} )?(.+?)(?:\[\[{{|\[Op:|\Z)", re.DOTALL
)

_log = logging.getLogger("tfpod.tensorflow")


class TensorFlowRunner:
    """A SavedModel's signatures, called through their concrete functions."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Load the SavedModel in `folder`; TensorFlow computes on `threads` processors.

        Raises ValueError if there is no signature that can be served, and whatever TensorFlow raises.
        """
        self._tf = _tensorflow(threads)
        self._loaded = self._tf.saved_model.load(str(folder), tags=[_TAG])  # keeps the variables alive
        self._functions = dict(self._loaded.signatures)
        self.signatures = _signatures(folder)
        if skipped := sorted(set(self._functions) - set(self.signatures)):
            _log.warning("not served: tensors that are not dense, or of no known type", extra={"signatures": skipped})
        if not self.signatures:
            raise ValueError("the SavedModel has no signature of dense tensors")

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """Compute; see Runner. Raises InvalidRequest for inputs that the model refuses, else what TensorFlow raises."""
        tf, outputs = self._tf, self.signatures[signature].outputs
        given = {name: tf.constant(array) for name, array in inputs.items()}
        try:
            answer = self._functions[signature](**given)
        except tf.errors.InvalidArgumentError as error:  # TensorFlow Serving, too, answers 400
            raise InvalidRequest(f"the model refused its inputs: {_reason(error)}") from error
        except tf.errors.OpError as error:
            raise ModelFailed(f"the model failed: {type(error).__name__}: {_reason(error)}") from error
        # A scalar is no array to TensorFlow.
        return {name: np.asarray(answer[name].numpy(), spec.element.numpy) for name, spec in outputs.items()}


def _tensorflow(threads: int) -> Any:
    """Import TensorFlow and bound its thread pools: it counts the machine's processors, not the container's."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf  # noqa: PLC0415 - seconds long, so only where a model needs it

    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    return tf


def _signatures(folder: Path) -> dict[str, Signature]:
    """Read the signatures, as written, from saved_model.pb (TensorFlow's saved_model.proto)."""
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415 - see above

    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "saved_model.pb").read_bytes())
    graph = next(graph for graph in model.meta_graphs if list(graph.meta_info_def.tags) == [_TAG])
    found = {}
    for name, definition in graph.signature_def.items():
        tensors = [*definition.inputs.values(), *definition.outputs.values()]
        if definition.inputs and definition.outputs and all(_element(tensor) for tensor in tensors):
            inputs = {key: _spec(tensor) for key, tensor in sorted(definition.inputs.items())}
            outputs = {key: _spec(tensor) for key, tensor in sorted(definition.outputs.items())}
            found[name] = Signature(inputs, outputs, definition.method_name)
    return found


def _element(tensor: Any) -> Any:
    from tensorflow.core.framework import types_pb2  # noqa: PLC0415 - see above

    return _ELEMENTS.get(types_pb2.DataType.Name(tensor.dtype)) if tensor.WhichOneof("encoding") == "name" else None


def _spec(tensor: Any) -> TensorSpec:
    shape = tensor.tensor_shape
    sizes = None if shape.unknown_rank else tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
    return TensorSpec(_element(tensor), sizes, tensor.name)


def _reason(error: Any) -> str:
    """Return what is wrong out of an OpError's message, which also tells where: before it or behind, or both."""
    found = _REASON.match(error.message)
    return " ".join((found[1] if found else error.message).split())[:_LONGEST]
