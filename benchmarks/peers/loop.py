"""The bare model in a loop, without any server: for each line `HOW BATCH SECONDS` it prints what it did, as JSON.

python -m benchmarks.peers.loop tensorflow|litert FOLDER SHAPE
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

Rows = np.ndarray[Any, np.dtype[np.float32]]
Call = Callable[[Rows], Any]


def tensorflow(folder: Path) -> Callable[[str, Rows], Call]:
    """Return how a SavedModel is called: its `signature`, that with variables `frozen`, its graph in a `session`."""
    import tensorflow as tf  # noqa: PLC0415 - one of two, each in an environment of its own
    from tensorflow.python.framework.convert_to_constants import (  # noqa: PLC0415
        convert_variables_to_constants_v2 as freeze,
    )

    saved = tf.saved_model.load(str(folder))
    signature = saved.signatures["serving_default"]
    frozen = freeze(signature)
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder)).signature_def["serving_default"]
        in_session = session.make_callable(graph.outputs["y"].name, [graph.inputs["x"].name])
    calls: dict[str, Call] = {
        "signature": lambda x: signature(x=tf.constant(x))["y"].numpy(),
        "frozen": lambda x: frozen(tf.constant(x))[0].numpy(),
        "session": in_session,
    }

    def choose(how: str, _: Rows, _held: Any = saved) -> Call:  # the variables live as long as the model
        return calls[how]

    return choose


def litert(folder: Path) -> Callable[[str, Rows], Call]:
    """Return how a .tflite file is called, of which each batch has an interpreter of its own."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - see above

    def interpreter(_: str, rows: Rows) -> Call:
        found = Interpreter(str(folder / "model.tflite"), num_threads=1)
        (given,), (answer,) = found.get_input_details(), found.get_output_details()
        found.resize_tensor_input(given["index"], rows.shape)
        found.allocate_tensors()

        def call(x: Rows) -> Any:
            found.set_tensor(given["index"], x)
            found.invoke()
            return found.get_tensor(answer["index"])

        return call

    return interpreter


def measure(call: Call, rows: Rows, seconds: float) -> dict[str, float]:
    """Call for so many seconds; return rows a second, and the median microseconds of a call."""
    call(rows)
    took: list[float] = []
    begun = now = time.perf_counter()
    while now < begun + seconds:
        before = now
        call(rows)
        now = time.perf_counter()
        took.append(now - before)
    return {"rows": len(rows) * len(took) / (now - begun), "microseconds": median(took) * 1e6}


def main() -> None:
    """Answer line by line."""
    runtime, folder, sizes = sys.argv[1:]
    shape = tuple(map(int, sizes.split(",")))
    calls = {"tensorflow": tensorflow, "litert": litert}[runtime](Path(folder))
    print("{}", flush=True)
    for line in sys.stdin:
        how, batch, seconds = line.split()
        rows = np.random.default_rng(1).standard_normal((int(batch), *shape)).astype(np.float32)
        print(json.dumps(measure(calls(how, rows), rows, float(seconds))), flush=True)


if __name__ == "__main__":
    main()
