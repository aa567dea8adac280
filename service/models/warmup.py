"""Runs a model before anybody waits for it, so that no caller pays for what happens once."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from service import cpus
from service.batching.form import Batching
from service.batching.worker import one_line
from service.types import Runner

_TRIES: Final = 3
#: Seconds: of a run that is not tried again, of a call for which a batch of its own may be worth it, and of a full
#: batch that is not worth a thread.
_LONG, _WORTH, _QUICK = 0.5, 0.001, 0.0005
#: Two rows side by side fill the gaps in which a processor waits for the other, or for its next row.
_AT_ONCE: Final = 2
#: Batches pay if they take less than this share of the time that their rows take one by one; those gaps are the rest.
_PAYS: Final = 0.9

_log = logging.getLogger("tfpod.models")


def warm(runner: Runner, batching: Batching, clock: Callable[[], float] = time.perf_counter) -> Batching:
    """Run every signature on zeros, alone and in full batches; one that cannot take them is served all the same.

    Return the batching with the signatures of which a full batch takes about as long as its rows one by one: alone
    they are answered sooner; and with those of which it takes no time to speak of, whatever is in it.
    """
    alone, quick = set(), set()
    for name, signature in runner.signatures.items():
        sizes = batching.warm_sizes if signature.batches else (1,)
        shares = signature.batches and batching.enabled
        compared = shares and not batching.sizes
        bounded = signature.bounded and (shares or not signature.batches)  # else a run may have any number of rows
        took = [_seconds(runner, name, rows, clock, _TRIES if compared or bounded else 1) for rows in sizes]
        if bounded and took[-1] < _QUICK:
            quick.add(name)
        elif compared and _WORTH < took[0] < math.inf and _PAYS <= took[-1] / (sizes[-1] * took[0]) < math.inf:
            alone.add(name)
            _log.info("batches do not pay", extra={"signature": name, "milliseconds": round(1000 * took[0], 1)})
    at_once = _AT_ONCE if runner.reentrant and alone == set(runner.signatures) else 1
    return replace(batching, alone=frozenset(alone), quick=frozenset(quick), at_once=at_once)


def _seconds(runner: Runner, name: str, rows: int, clock: Callable[[], float], tries: int) -> float:
    """Return how long a run takes, the least of some tries unless they are long; infinity if it fails."""
    inputs = runner.signatures[name].zeros(rows)
    try:
        return cpus.least_seconds(lambda: runner.run(name, inputs), tries, _LONG, clock)
    except Exception as error:  # noqa: BLE001 - zeros need not make sense to a model
        _log.warning("warm-up failed", extra={"signature": name, "rows": rows, "reason": one_line(error)})
        return math.inf
