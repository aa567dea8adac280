"""Imports TensorFlow: what runs a graph, which is a tenth of its modules, or the whole, as Keras needs it."""

import contextlib
import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any, Final

from service.memory import for_good

_PACKAGE: Final = "tensorflow"
#: What `__init__.py` begins with, sessions, SavedModels, the requests for their warm-up, what `__init__.py` ends with.
_FOR_GRAPHS: Final = (
    "tensorflow.python.pywrap_tensorflow",
    "tensorflow.python.client.session",
    "tensorflow.python.saved_model.loader_impl",
    "tensorflow.python.lib.io.tf_record",
    "tensorflow.python.compat.v2_compat",
)
#: Other makers' devices, which nothing but `import tensorflow` loads; they lie beside it.
_PLUGINS: Final = "tensorflow-plugins"

_one_at_a_time = threading.Lock()


def for_graphs() -> None:
    """Make sure that what runs graphs can be imported.

    Operations are C++: the 3,000 modules more that `import tensorflow` brings, in three times the time and with 130 MiB
    more, are nothing to a graph. Who imports it later gets the whole, made of what is there already and the rest.
    Raises ImportError.
    """
    with _set_up():
        spec = find_spec(_PACKAGE)
        folders = (spec and spec.submodule_search_locations) or []
        if not spec or any(Path(folder).with_name(_PLUGINS).is_dir() for folder in folders):
            importlib.import_module(_PACKAGE)
        elif not {_PACKAGE, _FOR_GRAPHS[-1]} & sys.modules.keys():
            with _unfilled(spec):
                *_, compat = map(importlib.import_module, _FOR_GRAPHS)
                compat.enable_v2_behavior()


def whole(threads: int) -> Any:
    """Return TensorFlow, computing on `threads` processors: it counts the machine's, not the container's."""
    with _set_up():
        import tensorflow as tf  # noqa: PLC0415 - seconds long, so only where a model needs it

    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # Operations take all processors one after the other: side by side they would mostly wait for each other.
        tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


@contextlib.contextmanager
def _set_up() -> Iterator[None]:
    """Prepare what is imported within; once there are modules of TensorFlow, there may be models too."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")  # to each session its own threads, as many as it says
    os.environ.setdefault("TF2_BEHAVIOR", "1")  # as `__init__.py` does, for what looks while it is imported
    with _one_at_a_time:
        first = not {_PACKAGE, _FOR_GRAPHS[0]} & sys.modules.keys()
        with for_good() if first else contextlib.nullcontext():
            yield
    for name in ("tensorflow", "absl"):  # they speak of what is of no use here, such as an optimizer's lost state
        logging.getLogger(name).setLevel(logging.ERROR)


@contextlib.contextmanager
def _unfilled(spec: ModuleSpec) -> Iterator[None]:
    """Have modules of the package imported within, but not what its own `__init__.py` imports."""
    sys.modules[_PACKAGE] = module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[_PACKAGE]
