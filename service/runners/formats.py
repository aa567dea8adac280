"""Loads the formats in which TensorFlow's models are saved, SavedModel and `.keras`, as functions in Python."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from service.types import DEFAULT_SIGNATURE, ELEMENT_TYPES, ElementType, Signature, Signatures, TensorSpec

_ELEMENTS: Final = {element.tensorflow: element for element in ELEMENT_TYPES}
#: Of the graph for serving, in a SavedModel.
TAG: Final = "serve"
_METHOD: Final = "tensorflow/serving/predict"

_log = logging.getLogger("tfpod.tensorflow")


class Loaded(NamedTuple):
    """A model in memory: functions of tensors by name that return such. `root` keeps the variables alive."""

    root: Any
    functions: Mapping[str, Callable[..., Mapping[str, Any]]]
    signatures: Signatures


def load(tf: Any, path: Path) -> Loaded:
    """Load a SavedModel's folder or a `.keras` file.

    Raises ValueError if there is no signature that can be served, and whatever TensorFlow raises.
    """
    model = _keras(tf, path) if path.suffix == ".keras" else _saved_model(tf, path)
    return checked(model, model.functions)


def signatures(graph: Any, *, steady: bool = False) -> dict[str, Signature]:
    """Return those of a MetaGraphDef (TensorFlow's meta_graph.proto) of which every tensor is dense, as written."""
    found = {}
    for name, definition in graph.signature_def.items():
        tensors = [*definition.inputs.values(), *definition.outputs.values()]
        dense = all(info.WhichOneof("encoding") == "name" and _element(info.dtype) for info in tensors)
        if dense and definition.inputs and definition.outputs:
            inputs, outputs = _of_infos(definition.inputs), _of_infos(definition.outputs)
            found[name] = Signature(inputs, outputs, definition.method_name, steady)
    return found


def checked(model: Loaded, names: Iterable[str]) -> Loaded:
    """Return the model, and tell of those named that are no signatures of it. Raises ValueError if there is none."""
    if skipped := sorted(set(names) - set(model.signatures)):
        _log.warning("not served: tensors that are not dense, or of no known type", extra={"signatures": skipped})
    if not model.signatures:
        raise ValueError("the model has no signature of dense tensors")
    return model


def _saved_model(tf: Any, folder: Path) -> Loaded:
    """Load the functions, and read the signatures in saved_model.pb (TensorFlow's saved_model.proto)."""
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415 - as TensorFlow itself: only for a model

    _let_optimizers_load(tf)
    root = tf.saved_model.load(str(folder), tags=[TAG])
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "saved_model.pb").read_bytes())
    graph = next(graph for graph in model.meta_graphs if list(graph.meta_info_def.tags) == [TAG])
    return Loaded(root, dict(root.signatures), signatures(graph))


def _let_optimizers_load(tf: Any) -> None:
    """Have the optimizer in a SavedModel of Keras 2 come back as an object that holds no state.

    A model saved amid its training has one, and TensorFlow loads none that has an optimizer of no known type.
    """
    revived = tf.__internal__.saved_model.load

    class Optimizer(tf.__internal__.tracking.AutoTrackable):  # type: ignore[misc]
        def add_slot(self, **_: object) -> Any:
            return tf.Variable(0.0, trainable=False)

    if "optimizer" not in revived.registered_identifiers():
        version = revived.VersionedTypeRegistration(lambda _: Optimizer(), 1, 1, 1)
        revived.register_revived_type("optimizer", lambda _: False, [version])


def _keras(tf: Any, path: Path) -> Loaded:
    """Load a Keras model as one signature, whose tensors are named as the layers, or as the keys where it has dicts.

    Code inside the file is refused, not run (Keras' safe mode).
    """
    model = tf.keras.models.load_model(str(path), compile=False, safe_mode=True)
    if not getattr(model, "inputs", None):
        raise ValueError("the Keras model does not say what its inputs are: export it as a SavedModel")
    chain = isinstance(model, tf.keras.Sequential)  # which knows the flat lists alone
    structure, answer = (model.inputs[0], model.outputs[0]) if chain else (model.input, model.output)
    names, answers = _names(tf, structure), _names(tf, answer)

    def serve(*tensors: Any) -> Mapping[str, Any]:
        outputs = model(tf.nest.pack_sequence_as(structure, tensors), training=False)
        return dict(zip(answers, tf.nest.flatten(outputs), strict=True))

    tensors = tf.nest.flatten(structure)
    function = tf.function(serve, autograph=False).get_concrete_function(
        *(tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in zip(names, tensors, strict=True))
    )
    inputs = list(zip(names, function.inputs, strict=False))  # the variables come after them
    outputs = list(function.structured_outputs.items())
    found = {}
    if all(isinstance(tensor, tf.Tensor) and _element(tensor.dtype.as_datatype_enum) for _, tensor in inputs + outputs):
        found[DEFAULT_SIGNATURE] = Signature(_of_tensors(inputs), _of_tensors(outputs), _METHOD)
    return Loaded(model, {DEFAULT_SIGNATURE: lambda **given: function(*(given[name] for name in names))}, found)


def _names(tf: Any, structure: Any) -> list[str]:
    """Name the tensors of a Keras model's input or output, in flat order."""
    tensors = tf.nest.flatten(structure)
    if isinstance(structure, dict) and len(structure) == len(tensors):
        return sorted(structure)  # the order in which tf.nest flattens
    names = [tensor._keras_history.operation.name for tensor in tensors]  # noqa: SLF001 - its public name is a count
    return names if len(set(names)) == len(names) else [f"{name}_{index}" for index, name in enumerate(names)]


def _element(dtype: int) -> ElementType | None:
    from tensorflow.core.framework import types_pb2  # noqa: PLC0415 - see above

    return _ELEMENTS.get(types_pb2.DataType.Name(dtype))


def _of_infos(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """Return the specs of TensorInfos."""
    return {key: _spec(info.dtype, info.tensor_shape, info.name) for key, info in sorted(infos.items())}


def _of_tensors(tensors: Iterable[tuple[str, Any]]) -> dict[str, TensorSpec]:
    """Return the specs of a graph's tensors."""
    return {key: _spec(t.dtype.as_datatype_enum, t.shape.as_proto(), t.name) for key, t in sorted(tensors)}


def _spec(dtype: int, shape: Any, graph_name: str) -> TensorSpec:
    sizes = None if shape.unknown_rank else tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
    return TensorSpec(_element(dtype) or _ELEMENTS["DT_STRING"], sizes, graph_name)
