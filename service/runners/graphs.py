"""Loads a SavedModel as TensorFlow Serving does: as a graph in a session.

Called in the caller's own thread it takes a small model a third of the time that its functions in Python take, which
hand every call over to a thread of TensorFlow's. What is imported here is there after `imports.for_graphs`.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

from tensorflow.core.framework.types_pb2 import DT_BFLOAT16, DT_BOOL, DT_DOUBLE, DT_FLOAT, DT_HALF
from tensorflow.core.protobuf.config_pb2 import CallableOptions, ConfigProto
from tensorflow.python.client.session import Session
from tensorflow.python.framework.errors import NotFoundError, OpError
from tensorflow.python.framework.ops import Graph
from tensorflow.python.ops.array_ops import identity
from tensorflow.python.saved_model.loader_impl import SavedModelLoader

from service import cpus
from service.runners import imports
from service.runners.formats import TAG, Loaded, checked, signatures
from service.types import Signature

#: Stands for the caller's thread (RunOptions.inter_op_thread_pool in TensorFlow's config.proto). Operations still take
#: all processors, one after the other.
_CALLERS: Final = -1
_UNKNOWN: Final = "Op type not registered"
#: A batch of so many rows in less than so many seconds is done in a moment.
_ROWS, _QUICK = 32, 0.0005
#: What stands among the signatures, and is none.
_INTERNAL: Final = frozenset({"__saved_model_init_op", "__saved_model_train_op"})
#: Operations that take as long as they like, or do what they like: loops and conditions, old and new, code in Python.
_UNSTEADY: Final = frozenset(
    {
        *("NextIteration", "RefNextIteration", "While", "StatelessWhile", "ReduceDataset", "IteratorGetNext"),
        *("Switch", "RefSwitch", "If", "StatelessIf", "Case", "StatelessCase"),
        *("PyFunc", "PyFuncStateless", "EagerPyFunc"),
    }
)
_FLOATS: Final = (DT_HALF, DT_BFLOAT16, DT_FLOAT, DT_DOUBLE)


def load(folder: Path, threads: int) -> Loaded:
    """Load a SavedModel; its functions take and return numpy's arrays.

    They compute on `threads` processors, or on one what is done in a moment. Raises ValueError if there is no signature
    that can be served, and whatever TensorFlow raises.
    """
    try:
        model = _load(folder, threads)
    except NotFoundError as error:
        if _UNKNOWN not in error.message:
            raise
        imports.whole(threads)  # which has a few more, and others' that lie there for it
        model = _load(folder, threads)
    if threads > 1 and all(_is_quick(model.functions[name], found) for name, found in model.signatures.items()):
        model.root.close()
        model = _load(folder, 1)
    return model


def _load(folder: Path, threads: int) -> Loaded:
    # Operations take all processors one after the other: side by side they would mostly wait for each other.
    config = ConfigProto(
        allow_soft_placement=True, intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1
    )
    config.gpu_options.allow_growth = True
    session = Session(graph=Graph(), config=config)
    with session.graph.as_default():
        graph = SavedModelLoader(str(folder)).load(session, [TAG])
        found = signatures(graph, steady=_is_steady(session, graph.graph_def))
        functions = {name: _function(session, signature) for name, signature in found.items()}
    return checked(Loaded(session, functions, found), [name for name in graph.signature_def if name not in _INTERNAL])


def _is_quick(function: Callable[..., Any], signature: Signature) -> bool:
    """Tell whether a second thread would begin when a batch is over, and take the processor that reads the requests."""
    if not signature.bounded:
        return False
    given = signature.zeros(_ROWS)
    try:
        function(**given)  # the first call has more to do
        return cpus.done_within(_QUICK, lambda: function(**given))
    except OpError:  # zeros make no sense to every model
        return False


def _is_steady(session: Any, graph: Any) -> bool:
    """Tell whether each operation of a GraphDef, and of its functions, is done once, and by processors.

    And whether no number of an input becomes a size: counted that far, or made an integer.
    """
    nodes = list(chain(graph.node, *(function.node_def for function in graph.library.function)))
    on_processors = all(device.device_type == "CPU" for device in session.list_devices())
    return on_processors and not any(node.op in _UNSTEADY or _makes_a_size(node) for node in nodes)


def _makes_a_size(node: Any) -> bool:
    if node.op == "Cast":
        return node.attr["SrcT"].type in _FLOATS and node.attr["DstT"].type not in (*_FLOATS, DT_BOOL)
    return bool(node.op == "Range" and node.attr["Tidx"].type in _FLOATS)


def _function(session: Any, signature: Signature) -> Callable[..., Mapping[str, Any]]:
    """Return a function of arrays by name that returns such."""
    inputs = {name: spec.graph_name for name, spec in signature.inputs.items()}
    outputs = {name: spec.graph_name for name, spec in signature.outputs.items()}
    for name, tensor in outputs.items():
        if tensor in inputs.values():  # what is fed cannot be fetched
            outputs[name] = identity(session.graph.get_tensor_by_name(tensor)).name
    options = CallableOptions(feed=inputs.values(), fetch=outputs.values())
    options.run_options.inter_op_thread_pool = _CALLERS
    call = session._make_callable_from_options(options)  # noqa: SLF001 - make_callable takes no options
    return lambda **given: dict(zip(outputs, call(*[given[name] for name in inputs]), strict=True))
