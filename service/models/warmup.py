"""Runs a model before anybody waits for it, so that no caller pays for what happens once."""

import logging
from collections.abc import Iterable

import numpy as np

from service.batching.worker import one_line
from service.types import Runner, Signature, Tensors

_log = logging.getLogger("tfpod.models")


def warm(runner: Runner, sizes: Iterable[int]) -> None:
    """Run every signature on zeros, in batches of each size; one that cannot take them is served all the same."""
    for name, signature in runner.signatures.items():
        for rows in sizes if signature.batches else (1,):
            try:
                runner.run(name, _zeros(signature, rows))
            except Exception as error:  # noqa: BLE001 - zeros need not make sense to a model
                _log.warning("warm-up failed", extra={"signature": name, "rows": rows, "reason": one_line(error)})


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
