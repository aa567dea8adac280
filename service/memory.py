"""Keeps memory small while models come and go: what is never garbage, and what is when a model has gone."""

import contextlib
import ctypes
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def for_good() -> Iterator[None]:
    """Have the garbage collector leave alone what is made within, and was before: TensorFlow, but no model.

    Its import leaves next to no garbage, but the collector takes a tenth of the time to find that out; and a later
    collection takes 2 ms instead of 200.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def give_back() -> None:
    """Collect what unloaded models left, whose objects refer to each other in circles, and return it to the system.

    glibc alone would keep a model's memory for the next one, and with each that fits no gap it would hold some more.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
    if trim:
        trim(0)
