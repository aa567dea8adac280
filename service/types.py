"""What the parts of the walk hand to each other: tensors, signatures, calls and replies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Tensors = Mapping[str, Array]
#: Of so many strings the places alone are many bytes.
_MANY: Final = 1 << 13


class ElementType(NamedTuple):
    """One type of tensor elements under each of its names; strings are numpy objects of type bytes."""

    numpy: np.dtype[np.generic]
    tensorflow: str
    oip: str

    @property
    def is_string(self) -> bool:
        """True for byte strings."""
        return self.numpy.kind == "O"


#: What TensorFlow calls the signature that is meant where none is named.
DEFAULT_SIGNATURE: Final = "serving_default"

#: Names from TensorFlow's types.proto and the Open Inference Protocol's tensor data types.
ELEMENT_TYPES: Final = tuple(
    ElementType(np.dtype(name), tensorflow, oip)
    for name, tensorflow, oip in (
        ("float32", "DT_FLOAT", "FP32"),
        ("float64", "DT_DOUBLE", "FP64"),
        ("float16", "DT_HALF", "FP16"),
        ("int8", "DT_INT8", "INT8"),
        ("int16", "DT_INT16", "INT16"),
        ("int32", "DT_INT32", "INT32"),
        ("int64", "DT_INT64", "INT64"),
        ("uint8", "DT_UINT8", "UINT8"),
        ("uint16", "DT_UINT16", "UINT16"),
        ("uint32", "DT_UINT32", "UINT32"),
        ("uint64", "DT_UINT64", "UINT64"),
        ("bool", "DT_BOOL", "BOOL"),
        ("object", "DT_STRING", "BYTES"),
    )
)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a signature says of one tensor. `shape`: None for an unknown rank; a None in it is a free dimension."""

    element: ElementType
    shape: tuple[int | None, ...] | None
    #: The tensor's name in the graph, such as `serving_default_x:0`.
    graph_name: str = ""

    @property
    def has_free_batch(self) -> bool:
        """True if the first dimension is free, so that rows of several callers can be put together."""
        return bool(self.shape) and self.shape is not None and self.shape[0] is None

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Tell whether a tensor of `shape` fits."""
        wanted = self.shape
        if wanted is None or shape == wanted:
            return True
        if not shape or len(shape) != len(wanted):
            return False
        if shape[1:] == wanted[1:]:  # the commonest, told at one go
            return wanted[0] is None
        return all(size in (None, given) for size, given in zip(wanted, shape, strict=True))


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a model; `method` is the SavedModel's method name."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method: str = ""
    #: True if nothing in it loops, chooses or makes a size of a number, or runs on what others use too.
    steady: bool = field(default=False, compare=False)
    #: Its only input, if that is lists of numbers: name and spec. Most signatures are so.
    plain: tuple[str, TensorSpec] | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """See what is asked for with every request."""
        inputs = [(n, spec) for n, spec in self.inputs.items() if spec.shape and not spec.element.is_string]
        object.__setattr__(self, "plain", inputs[0] if len(inputs) == len(self.inputs) == 1 else None)

    @property
    def batches(self) -> bool:
        """True if every tensor's first dimension is free: then the rows of several calls may share a batch."""
        return all(spec.has_free_batch for spec in (*self.inputs.values(), *self.outputs.values()))

    @property
    def bounded(self) -> bool:
        """True if the number of rows alone says how long a run takes: integers may be sizes, strings are of any."""
        free = 1 if self.batches else 0
        return self.steady and all(
            spec.shape is not None and None not in spec.shape[free:] and spec.element.numpy.kind == "f"
            for spec in self.inputs.values()
        )

    def zeros(self, rows: int) -> Tensors:
        """Return inputs of so many rows, each other free dimension 1 long; strings are empty."""
        return {
            name: np.full(
                [rows if axis == 0 and size is None else size or 1 for axis, size in enumerate(spec.shape or ())],
                b"" if spec.element.is_string else 0,
                dtype=spec.element.numpy,
            )
            for name, spec in self.inputs.items()
        }


Signatures = Mapping[str, Signature]


class Call(msgspec.Struct, frozen=True):
    """A decoded request: tensors that fit the signature. `outputs`: the names asked for, or None for all."""

    signature: str
    inputs: Tensors
    outputs: tuple[str, ...] | None = None
    #: 1 goes before 0; there are no other levels.
    priority: Literal[0, 1] = 0
    #: How long the caller will wait for the model.
    seconds: float = math.inf
    #: The caller's id of the request, to be echoed.
    id: str = ""
    #: The outputs to be answered in raw bytes (the Open Inference Protocol's binary tensors).
    binary: frozenset[str] = frozenset()
    #: True if the answer is to be a list of rows (TensorFlow Serving's `instances`).
    by_row: bool = False


class Reply(msgspec.Struct, frozen=True):
    """The tensors that the model answered, by output name, and who answered."""

    outputs: Tensors
    model: str = ""
    version: str = ""

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors, their strings included unless they are too many to count."""
        size = 0
        for array in self.outputs.values():
            size += array.nbytes
            if array.dtype.kind == "O" and array.size <= _MANY:
                size += sum(map(len, array.ravel().tolist()))
        return size


class VersionState(NamedTuple):
    """One version of a model; `state` is TensorFlow Serving's word: START, LOADING, AVAILABLE, UNLOADING or END.

    `reason`: what keeps it from being served, if something does.
    """

    model: str
    version: str
    state: str
    reason: str = ""

    @property
    def ready(self) -> bool:
        """True if it answers."""
        return self.state == "AVAILABLE"


class Runner(Protocol):
    """A loaded model: the one interface of every runtime."""

    @property
    def platform(self) -> str:
        """The runtime and the format, in Triton's manner: `tensorflow_savedmodel`."""
        ...

    @property
    def signatures(self) -> Signatures:
        """What the model can be asked, by name."""
        ...

    @property
    def reentrant(self) -> bool:
        """True if several threads may compute at once."""
        ...

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """Compute the outputs of `signature`; by one thread at a time unless `reentrant`. May raise anything."""
        ...
