"""TensorFlow Serving's REST format: predict.

Source: TensorFlow Serving's api_rest.md, and util/json_tensor.cc for what the document leaves open.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from service.codecs import http, jsontensor, numeric, tfdocument
from service.codecs.jsontensor import Read
from service.errors import InvalidRequest
from service.types import DEFAULT_SIGNATURE, Array, Call, ElementType, Reply, Signature, Signatures, Tensors, TensorSpec


class _Predict(msgspec.Struct):
    """The top of a request; tensors are read once the signature is known. Unknown keys are ignored."""

    signature_name: str = ""
    instances: msgspec.Raw = msgspec.Raw(b"")
    inputs: msgspec.Raw = msgspec.Raw(b"")


_predict: Final = msgspec.json.Decoder(_Predict)
#: `{` or `[{`.
_NAMED: Final = re.compile(rb"\[?[ \t\r\n]*+\{")
#: How an answer begins, by column and by row.
_OPENING: Final = (b'{"outputs":', b'{"predictions":')
#: As objects, rows take many times their bytes; so many, with a string in base 64 for each input.
_MOST_OBJECTS: Final = 1 << 16


def decode(body: bytes, _headers: Mapping[bytes, bytes], signatures: Signatures) -> Call:
    """Return the call that a predict request makes.

    By row:    {"signature_name": NAME, "instances": [VALUE | {INPUT: VALUE, …}, …]}
    By column: {"signature_name": NAME, "inputs": VALUE | {INPUT: VALUE, …}}

    Raises InvalidRequest. Plain numbers take the short way; whatever is not plain is looked at in detail.
    """
    call = _decode_rows(body, signatures) or _decode_plain(body, signatures)
    if call is None and len(body) > jsontensor.DETAILED:
        legal = numeric.marked(body)
        call = None if legal is body else _decode_plain(legal, signatures, jsontensor.read_marked)
    return call or tfdocument.understand(jsontensor.loads(body), signatures)


def encode(call: Call, reply: Reply) -> tuple[bytes, Mapping[str, str]]:
    """Return `{"predictions": [ROW, …]}` for a call by row, `{"outputs": …}` for one by column.

    A row or column is bare if there is one output, an object if there are several; strings of an output whose name ends
    with `_bytes` are in base 64. Not pretty-printed, as TensorFlow Serving's are. Raises InvalidRequest if the answer
    cannot be given by row.
    """
    if len(reply.outputs) == 1:  # of numbers it is the commonest of all answers
        (array,) = reply.outputs.values()
        if array.dtype.kind != "O" and (array.ndim or not call.by_row):
            return _OPENING[call.by_row] + numeric.write(array) + b"}", http.JSON
    if call.by_row:
        _check_rows(reply.outputs)
    if call.by_row and len(reply.outputs) > 1:
        return jsontensor.dump({"predictions": _answer_rows(reply.outputs)}), http.JSON
    columns = {n: jsontensor.written(array, as_base64=n.endswith("_bytes")) for n, array in reply.outputs.items()}
    answer = next(iter(columns.values())) if len(columns) == 1 else columns
    return jsontensor.dump({"predictions" if call.by_row else "outputs": answer}), http.JSON


def _decode_rows(body: bytes, signatures: Signatures) -> Call | None:
    """Read the commonest of all requests at one go: rows for the default signature's only input; None if it is not."""
    signature = signatures.get(DEFAULT_SIGNATURE)
    if signature is None or not signature.plain or not numeric.is_light(body):
        return None
    name, spec = signature.plain
    element, rank = spec.element, len(spec.shape or ())
    try:
        request = _rows_of(element, rank).decode(body)
        array = numeric.as_array(request.instances, element, rank)
    except (ValueError, RecursionError, InvalidRequest):
        return None
    if request.inputs or request.signature_name or not (array.size and spec.accepts(array.shape)):
        return None
    return Call(DEFAULT_SIGNATURE, {name: array}, by_row=True)


@functools.cache
def _rows_of(element: ElementType, rank: int) -> msgspec.json.Decoder[Any]:
    rows = numeric.nested(element, rank)
    return msgspec.json.Decoder(msgspec.defstruct("Rows", [("instances", rows)], bases=(_Predict,), kw_only=True))


def _decode_plain(body: bytes, signatures: Signatures, read: Read = jsontensor.read) -> Call | None:
    """Read a request whose tensors are plain lists; None if this is not one."""
    try:
        request = _predict.decode(body)
        signature = tfdocument.signature_of(request.signature_name, signatures)
        by_row = tfdocument.is_by_row(instances=bool(request.instances), inputs=bool(request.inputs))
        arrays = _plain(bytes(request.instances or request.inputs), signature, read, by_row=by_row)
    except (ValueError, RecursionError):  # the parser's errors are ValueErrors
        return None
    return tfdocument.call_of(request.signature_name, signature, arrays, by_row=by_row) if arrays else None


def _plain(text: bytes, signature: Signature, read: Read, *, by_row: bool) -> dict[str, Array] | None:
    """Read tensors that are bare, or named in objects; {"b64": …} is bare, unless there is an input of that name."""
    inputs = signature.inputs
    if len(inputs) == 1 and "b64" not in inputs and (arrays := _read(dict.fromkeys(inputs, text), inputs, read)):
        return arrays
    if not _NAMED.match(text) or text.count(b"{") > (1 + len(inputs)) * _MOST_OBJECTS:
        return None
    named = _named(tuple(inputs), by_row=by_row).decode(text)
    if not by_row:
        return _read(dict(zip(inputs, msgspec.structs.astuple(named), strict=True)), inputs, read)
    if len(named) > _MOST_OBJECTS:
        return None
    columns = zip(*map(msgspec.structs.astuple, named), strict=True)
    texts = {name: b"[%s]" % b",".join(map(bytes, rows)) for name, rows in zip(inputs, columns, strict=False)}
    return _read(texts, inputs, read)


@functools.cache
def _named(names: tuple[str, ...], *, by_row: bool) -> msgspec.json.Decoder[Any]:
    """Return what reads an object of these keys and any other, or rows that are objects of these and no other."""
    fields = {f"f{number}": name for number, name in enumerate(names)}
    kind = msgspec.defstruct(
        "Named", [(field, msgspec.Raw) for field in fields], rename=fields, forbid_unknown_fields=by_row
    )
    return msgspec.json.Decoder(list[kind] if by_row else kind)  # type: ignore[valid-type]


def _read(
    texts: Mapping[str, bytes | msgspec.Raw], inputs: Mapping[str, TensorSpec], read: Read
) -> dict[str, Array] | None:
    arrays = {}
    for name, spec in inputs.items():
        if name not in texts:
            return None
        array = read(texts[name], spec.element, None if spec.shape is None else len(spec.shape))
        if array is None or not array.size:
            return None
        arrays[name] = array
    return arrays


def _check_rows(outputs: Tensors) -> None:
    """Raise InvalidRequest unless all outputs have equally many rows."""
    rows = next((len(array) for array in outputs.values() if array.ndim), 0)
    for name, array in outputs.items():
        if not array.ndim:
            raise InvalidRequest(f"Tensor name: {name} has no rows; ask by 'inputs' instead of 'instances'")
        if len(array) != rows:
            raise InvalidRequest(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}; "
                "ask by 'inputs' instead of 'instances'"
            )


def _answer_rows(outputs: Tensors) -> list[Any]:
    """Return an object for each row; of a large answer, each as text by itself: see numeric.py."""
    columns = {name: jsontensor.rows(array, as_base64=name.endswith("_bytes")) for name, array in outputs.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    large = sum(array.nbytes for array in outputs.values()) > numeric.STEP
    return [orjson.Fragment(jsontensor.dump(row)) for row in rows] if large else rows
