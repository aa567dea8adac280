"""The JSON of an Open Inference Protocol request: what of it is read. Unknown keys and parameters are ignored."""

import contextlib
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from service.codecs import jsontensor, numeric
from service.codecs.jsontensor import Read
from service.errors import InvalidRequest

T = TypeVar("T")


class InputParameters(msgspec.Struct):
    """Of one input: how many bytes it has behind the JSON."""

    binary_data_size: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    shared_memory_region: str | None = None


#: Stands for data that is not there; null is something else.
ABSENT: Final[Any] = msgspec.Raw(b"")


class Input(msgspec.Struct, Generic[T]):
    """One tensor; `data` is parsed, or still text, or not there."""

    name: str
    shape: list[int]
    datatype: str
    data: T = ABSENT
    parameters: InputParameters | None = None


class OutputParameters(msgspec.Struct):
    """Of one output: whether it is answered in binary."""

    binary_data: bool | None = None
    classification: int | None = None
    shared_memory_region: str | None = None


class Output(msgspec.Struct):
    """An output that is asked for."""

    name: str
    parameters: OutputParameters | None = None


class Parameters(msgspec.Struct):
    """Of a whole request; `timeout` in microseconds, 0 is none; of the levels of `priority` 1 is the highest."""

    timeout: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    priority: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    binary_data_output: bool = False
    signature_name: str | None = None


class Infer(msgspec.Struct, Generic[T]):
    """An infer request."""

    inputs: list[Input[T]]
    id: str | None = None
    outputs: list[Output] | None = None
    parameters: Parameters | None = None


_infer: Final = msgspec.json.Decoder(Infer[msgspec.Raw])


def parse(text: bytes) -> tuple[Infer[Any], Read]:
    """Return the request, and what reads its data: that is text, or parsed where the request is not plain.

    Raises InvalidRequest.
    """
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _infer.decode(text), jsontensor.read
    if len(text) > jsontensor.DETAILED:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _infer.decode(numeric.marked(text)), jsontensor.read_marked
    try:
        document = jsontensor.loads(text)  # takes a NaN, or says what is wrong
        return msgspec.convert(document, Infer[Any]), jsontensor.read
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"not an infer request: {error}") from None
