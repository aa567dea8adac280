"""How calls are put together: how much a batch takes, how much may wait, and who may share one."""

from collections.abc import Hashable
from dataclasses import dataclass

from service.types import Call, Signature, Tensors


@dataclass(frozen=True, slots=True)
class Batching:
    """How much a batch takes, in rows and in bytes of its inputs, and how much may wait.

    Not `enabled`, every call is computed as it came: for a model in which the rows of a batch affect each other.
    """

    max_rows: int
    max_queue_rows: int
    enabled: bool = True
    max_bytes: int = 64 << 20
    max_queue_bytes: int = 256 << 20
    #: Seconds that a batch waits for company although the model is free.
    timeout: float = 0.0
    #: If there are any: the only numbers of rows that the model is given, rising up to `max_rows`.
    sizes: tuple[int, ...] = ()
    #: Seconds that calls beyond the next batch may wait while there is an overload that lasts.
    overload_wait: float = 0.01
    #: Seconds after which nobody waits for a batch any more.
    stuck_after: float = 10.0
    #: The signatures of which every call is computed as it came: their batches do not pay.
    alone: frozenset[str] = frozenset()
    #: The signatures that take less time than handing them to a thread and back: the event loop computes them itself.
    quick: frozenset[str] = frozenset()
    #: Batches that are computed side by side while others wait.
    at_once: int = 1

    @property
    def warm_sizes(self) -> tuple[int, ...]:
        """The numbers of rows on which to try a model before it is served."""
        return self.sizes or (1, self.max_rows)

    def step(self, rows: int, size: int) -> int:
        """Return how many rows of a call go into one batch, if it has so many in so many bytes."""
        if rows <= self.max_rows and size <= self.max_bytes:
            return rows
        return max(1, min(self.max_rows, self.max_bytes * rows // max(1, size)))


class Form:
    """What a signature means to batches. Calls of which `shares` is true are together with those of the same key."""

    def __init__(self, name: str, signature: Signature, batching: Batching) -> None:
        self.has_rows = signature.batches
        self.shares = batching.enabled and signature.batches and name not in batching.alone
        inputs = signature.inputs.values()
        self._one_shape = all(spec.shape is not None and None not in spec.shape[1:] for spec in inputs)

    def measure(self, inputs: Tensors) -> tuple[int, int]:
        """Return a call's rows, and its bytes, of strings only their places."""
        size = 0
        for array in inputs.values():
            size += array.nbytes
        return len(array) if self.has_rows else 1, size

    def key(self, call: Call, number: int) -> Hashable:
        """Return what calls have in common that may share a batch; `number` is the call's own."""
        if not self.shares:
            return number
        if self._one_shape:
            return call.signature
        return call.signature, tuple((name, array.shape[1:]) for name, array in sorted(call.inputs.items()))
