"""Runs a TensorFlow SavedModel."""

import os
from pathlib import Path
from typing import Any, Final

from service.types import ELEMENT_TYPES, Signature, Tensors, TensorSpec

_ELEMENTS: Final = {element.tensorflow: element for element in ELEMENT_TYPES}
_TAG: Final = "serve"


class TensorFlowRunner:
    """A SavedModel's signatures, called through their concrete functions."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Load the SavedModel in `folder`; TensorFlow computes on `threads` processors.

        Raises ValueError if there is no signature that can be served, and whatever TensorFlow raises.
        """
        tf = _tensorflow(threads)
        self._constant = tf.constant
        self._loaded = tf.saved_model.load(str(folder), tags=[_TAG])  # keeps the variables alive
        self._functions = dict(self._loaded.signatures)
        self.signatures = {
            name: signature for name, signature in _signatures(folder).items() if name in self._functions
        }
        if not self.signatures:
            raise ValueError("the SavedModel has no signature of dense tensors")

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """Compute; see Runner."""
        given = {name: self._constant(array) for name, array in inputs.items()}
        return {name: tensor.numpy() for name, tensor in self._functions[signature](**given).items()}


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
    graph = next(graph for graph in model.meta_graphs if _TAG in graph.meta_info_def.tags)
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
