"""Loads a SavedModel as TensorFlow Serving does: as a graph in a session.

Called in the caller's own thread it takes a small model a third of the time that its functions in Python take, which
hand every call over to a thread of TensorFlow's.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from service.runners.formats import TAG, Loaded, checked, signatures
from service.types import Signature

#: Stands for the caller's thread (RunOptions.inter_op_thread_pool in TensorFlow's config.proto). Operations still take
#: all processors, one after the other.
_CALLERS: Final = -1
#: What stands among the signatures, and is none.
_INTERNAL: Final = frozenset({"__saved_model_init_op", "__saved_model_train_op"})


def load(tf: Any, folder: Path) -> Loaded:
    """Load a SavedModel; its functions take and return numpy's arrays.

    Raises ValueError if there is no signature that can be served, and whatever TensorFlow raises.
    """
    config = tf.compat.v1.ConfigProto(
        allow_soft_placement=True,
        intra_op_parallelism_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        inter_op_parallelism_threads=1,
    )
    config.gpu_options.allow_growth = True
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        graph = tf.compat.v1.saved_model.load(session, [TAG], str(folder))
        found = signatures(graph)
        functions = {name: _function(tf, session, signature) for name, signature in found.items()}
    return checked(Loaded(session, functions, found), [name for name in graph.signature_def if name not in _INTERNAL])


def _function(tf: Any, session: Any, signature: Signature) -> Callable[..., Mapping[str, Any]]:
    """Return a function of arrays by name that returns such."""
    from tensorflow.core.protobuf import config_pb2  # noqa: PLC0415 - as TensorFlow itself: only for a model

    inputs = {name: spec.graph_name for name, spec in signature.inputs.items()}
    outputs = {name: spec.graph_name for name, spec in signature.outputs.items()}
    for name, tensor in outputs.items():
        if tensor in inputs.values():  # what is fed cannot be fetched
            outputs[name] = tf.identity(session.graph.get_tensor_by_name(tensor)).name
    options = config_pb2.CallableOptions(feed=inputs.values(), fetch=outputs.values())
    options.run_options.inter_op_thread_pool = _CALLERS
    call = session._make_callable_from_options(options)  # noqa: SLF001 - make_callable takes no options
    return lambda **given: dict(zip(outputs, call(*[given[name] for name in inputs]), strict=True))
