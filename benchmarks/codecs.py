"""Measures the wire formats in this process: microseconds to read a request and to write its answer, and how long each
keeps an event loop waiting that runs beside the thread in which it is done.

Each figure is the best of its repetitions, which is what the code costs where nothing else runs.

    python -m benchmarks.codecs --seconds 1
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from service.codecs import oip, tfserving
from service.types import ELEMENT_TYPES, Array, Call, Reply, Signature, Signatures, TensorSpec

#: float32 tensors: name, shape. The text of the last takes 8 MiB.
_SHAPES: Final = {
    "32 numbers": (1, 32),
    "a digit of 8 x 8 x 1": (1, 8, 8, 1),
    "64 rows of 32": (64, 32),
    "64 digits": (64, 8, 8, 1),
    "a picture of 224 x 224 x 3": (1, 224, 224, 3),
    "8 MiB in rows of 32": (25_000, 32),
}
_TICK: Final = 0.0005


def main() -> None:
    """Print a table: one row for each format and shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each figure is sought")
    seconds: float = parser.parse_args().seconds
    print(f"{'':11}{'':28}{'KiB':>7}{'read':>13}{'hold':>10}{'write':>13}{'hold':>10}")
    for name, shape in _SHAPES.items():
        array = np.random.default_rng(1).random(shape, np.float32)
        spec = TensorSpec(ELEMENT_TYPES[0], (None, *shape[1:]))
        signatures = {"serving_default": Signature({"x": spec}, {"x": spec})}
        for codec in (tfserving, oip):
            figures = _figures(codec, array, signatures, seconds)
            print(f"{codec.__name__.rpartition('.')[2]:11}{name:28}{figures}", flush=True)


def _figures(codec: Any, array: Array, signatures: Signatures, seconds: float) -> str:
    body = _body(codec, array)
    call: Call = codec.decode(body, {}, signatures)
    assert np.array_equal(call.inputs["x"], array)
    columns = [f"{len(body) / 1024:7.0f}"]
    for work in (lambda: codec.decode(body, {}, signatures), lambda: codec.encode(call, Reply({"x": array}))):
        columns += [f"{_microseconds(work, seconds):10.1f} us", f"{_hold(work, seconds):7.1f} ms"]
    return "".join(columns)


def _body(codec: Any, array: Array) -> bytes:
    if codec is tfserving:
        return json.dumps({"instances": _lists(array)}).encode()
    tensor = {"name": "x", "shape": array.shape, "datatype": "FP32", "data": _lists(array.ravel())}
    return json.dumps({"inputs": [tensor]}).encode()


def _lists(array: Array) -> Any:
    """Return nested lists of the shortest texts of float32."""
    return array.astype(str).astype(np.float64).tolist()


def _microseconds(work: Callable[[], Any], seconds: float) -> float:
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best * 1e6


def _hold(work: Callable[[], Any], seconds: float) -> float:
    """Return the longest time in ms for which a ticking loop was kept from its next tick, the best of several runs."""

    async def once() -> float:
        task, longest = asyncio.create_task(asyncio.to_thread(work)), 0.0
        while not task.done():
            begun = time.perf_counter()
            await asyncio.sleep(_TICK)
            longest = max(longest, time.perf_counter() - begun - _TICK)
        return longest

    async def best() -> float:
        end, found = time.perf_counter() + seconds, [await once()]
        while time.perf_counter() < end:
            found.append(await once())
        return min(found)

    return asyncio.run(best()) * 1e3


if __name__ == "__main__":
    main()
