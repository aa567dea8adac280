"""A model for clients to call, and a pod that serves it."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from service.types import ELEMENT_TYPES
from tests.program import program, until_ready


def _spec(name: str, shape: list[int | None], dtype: Any = tf.float32) -> Any:
    return tf.TensorSpec(shape, dtype, name)


def _save(folder: Path) -> None:
    """Write a model of two inputs and two outputs; a signature `of_DATATYPE` for each type answers its own input."""
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "serving_default": (
            lambda a, b: {"sum": a + tf.cast(b, tf.float32), "product": a * tf.cast(b, tf.float32)},
            [_spec("a", [None, 3]), _spec("b", [None, 1], tf.int32)],
        )
    }
    for element in ELEMENT_TYPES:
        dtype = tf.as_dtype(element.tensorflow.removeprefix("DT_").lower())
        signatures[f"of_{element.oip}"] = (lambda x: {"y": tf.identity(x)}, [_spec("x", [None, None], dtype)])
    functions = {
        name: tf.function(body, input_signature=specs, autograph=False) for name, (body, specs) in signatures.items()
    }
    tf.saved_model.save(tf.Module(), str(folder / "1"), signatures=functions)


def _convert(version: Path) -> None:
    """Put the model's .tflite file in its place."""
    content = tf.lite.TFLiteConverter.from_saved_model(str(version)).convert()
    shutil.rmtree(version)
    version.mkdir()
    (version / "model.tflite").write_bytes(content)


@contextlib.contextmanager
def serving_kinds(folder: Path, runtime: str) -> Iterator[tuple[str, str]]:
    """Serve that model as `kinds`; yield the addresses of the API and of gRPC."""
    _save(folder)
    if runtime == "litert":
        _convert(folder / "1")
    with program(TFPOD_MODELS=f"kinds={folder}", TFPOD_GRPC="true", TFPOD_GRPC_PORT="0") as pod:
        api, admin = pod.urls()
        rpc = pod.line("listening")["port"]
        until_ready(admin)
        yield api.removeprefix("http://"), f"127.0.0.1:{rpc}"
