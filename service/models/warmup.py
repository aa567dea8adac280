"""Runs a model before anybody waits for it, so that no caller pays for what happens once."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from service.batching.form import Batching
from service.batching.worker import one_line
from service.types import Runner, Signature, Tensors

_TRIES: Final = 3
#: Seconds: of a run that is not tried again, and of a call for which a batch of its own may be worth it.
_LONG, _WORTH = 0.5, 0.001
#: Batches pay if they take less than this share of the time that their rows take one by one.
_PAYS: Final = 0.95

_log = logging.getLogger("tfpod.models")


def warm(runner: Runner, batching: Batching, clock: Callable[[], float] = time.perf_counter) -> Batching:
    """Run every signature on zeros, alone and in full batches; one that cannot take them is served all the same.

    Return the batching with the signatures of which a full batch takes about as long as its rows one by one: alone
    they are answered sooner.
    """
    alone = set()
    for name, signature in runner.signatures.items():
        sizes = batching.warm_sizes if signature.batches else (1,)
        measured = signature.batches and batching.enabled and not batching.sizes
        took = [_seconds(runner, name, rows, clock, _TRIES if measured else 1) for rows in sizes]
        if measured and _WORTH < took[0] < math.inf and _PAYS <= took[-1] / (sizes[-1] * took[0]) < math.inf:
            alone.add(name)
            _log.info("batches do not pay", extra={"signature": name, "milliseconds": round(1000 * took[0], 1)})
    return replace(batching, alone=frozenset(alone))


def _seconds(runner: Runner, name: str, rows: int, clock: Callable[[], float], tries: int) -> float:
    """Return how long a run takes, the least of some tries unless they are long; infinity if it fails."""
    least, inputs = math.inf, _zeros(runner.signatures[name], rows)
    try:
        for _ in range(tries):
            begun = clock()
            runner.run(name, inputs)
            least = min(least, clock() - begun)
            if least > _LONG:
                break
    except Exception as error:  # noqa: BLE001 - zeros need not make sense to a model
        _log.warning("warm-up failed", extra={"signature": name, "rows": rows, "reason": one_line(error)})
    return least


def _zeros(signature: Signature, rows: int) -> Tensors:
    """Return inputs of `rows` rows, each other free dimension 1 long; strings are empty."""
    return {
        name: np.full(
            [rows if axis == 0 and size is None else size or 1 for axis, size in enumerate(spec.shape or ())],
            b"" if spec.element.is_string else 0,
            dtype=spec.element.numpy,
        )
        for name, spec in signature.inputs.items()
    }
