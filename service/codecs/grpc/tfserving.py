"""TensorFlow Serving's gRPC messages: predict, the models' signatures and their states.

Source: tensorflow_serving/apis/{model,predict,get_model_metadata,get_model_status}.proto; the numbers are theirs. The
errors' texts are those of its servers/predict_util.cc and get_model_metadata_impl.cc where these have them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from service.codecs import tfdocument
from service.codecs.grpc import tensor, wire
from service.codecs.grpc.wire import Fields
from service.errors import InvalidRequest
from service.types import Call, Reply, Signature, Signatures, VersionState

#: What a message says of the model that it is about, and what else it has; each message numbers its own.
_SPEC, _INPUTS, _FILTER, _METADATA_FIELD = 1, 2, 3, 2
_KEY, _VALUE = 1, 2
_STATES: Final = {"START": 10, "LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50}
_UNKNOWN_ERROR: Final = 2
_METADATA: Final = "signature_def"
_MAP: Final = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


def model_of(request: Fields) -> tuple[str, int | None, str | None]:
    """Return the name, version and label of the model that any request is about. Raises InvalidRequest."""
    if not request[_SPEC]:
        raise InvalidRequest("Missing ModelSpec")
    spec = wire.message(request, _SPEC)
    name, label, versions = wire.last(spec, 1, ""), wire.last(spec, 4, ""), wire.messages(spec, 2)
    if not name:
        raise InvalidRequest("ModelSpec has no name specified.")
    return name, wire.signed(wire.last(versions[-1], 1, 0)) if versions else None, label or None


def decode(request: Fields, signatures: Signatures) -> Call:
    """Return the call that a PredictRequest makes. Raises InvalidRequest."""
    name = wire.last(wire.message(request, _SPEC), 3, "")
    signature = tfdocument.signature_of(name, signatures)
    given = {wire.last(entry, _KEY, ""): entry for entry in wire.messages(request, _INPUTS)}
    _check_inputs(given, signature)
    arrays = {}
    for key, spec in signature.inputs.items():
        try:
            arrays[key] = tensor.read(wire.message(given[key], _VALUE, wire.MANY), spec.element)
        except InvalidRequest as error:
            raise InvalidRequest(f"input {key!r}: {error}") from None
    call = tfdocument.call_of(name, signature, arrays, by_row=False)
    wanted = tuple(dict.fromkeys(wire.texts(request, _FILTER)))
    for key in wanted:
        if key not in signature.outputs:
            known = f"Outputs expected to be in the set {{{','.join(sorted(signature.outputs))}}}."
            raise InvalidRequest(f"output tensor alias not found in signature: {key[:256]} {known}")
    return Call(call.signature, call.inputs, outputs=wanted or None)


def encode(call: Call, reply: Reply) -> bytes:
    """Return a PredictResponse."""
    names = reply.outputs if call.outputs is None else call.outputs
    outputs = [{_KEY: name, _VALUE: tensor.write(reply.outputs[name])} for name in names]
    return wire.dump({1: outputs, 2: _spec(reply.model, reply.version, call.signature)})


def decode_metadata(request: Fields) -> None:
    """Check what a GetModelMetadataRequest asks for: there is one thing. Raises InvalidRequest."""
    wanted = wire.texts(request, _METADATA_FIELD)
    if not wanted:
        raise InvalidRequest("GetModelMetadataRequest must specify at least one metadata_field")
    for field in wanted:
        if field != _METADATA:
            raise InvalidRequest(f"Metadata field {field[:256]} is not supported")


def encode_metadata(name: str, version: str, signatures: Signatures) -> bytes:
    """Return a GetModelMetadataResponse, whose SignatureDefMap is in an Any."""
    found = wire.dump({1: [{_KEY: key, _VALUE: _signature(signature)} for key, signature in signatures.items()]})
    return wire.dump({1: _spec(name, version), 2: [{_KEY: _METADATA, _VALUE: {1: _MAP, 2: found}}]})


def encode_status(states: Iterable[VersionState]) -> bytes:
    """Return a GetModelStatusResponse."""
    return wire.dump({1: [_status(state) for state in states]})


def _check_inputs(given: Iterable[str], signature: Signature) -> None:
    extra, missing = sorted(set(given) - set(signature.inputs)), sorted(set(signature.inputs) - set(given))
    if extra or missing:
        extra_text = ",".join(extra)[:256]
        raise InvalidRequest(
            f"input size does not match signature: Sent extra: {{{extra_text}}}. "
            f"Missing but required: {{{','.join(missing)}}}."
        )


def _spec(name: str, version: str, signature: str = "") -> Mapping[int, Any]:
    return {1: name, 2: {1: int(version)}, 3: signature}


def _signature(signature: Signature) -> Mapping[int, Any]:
    inputs, outputs = (
        [{_KEY: key, _VALUE: tensor.info_of(spec)} for key, spec in specs.items()]
        for specs in (signature.inputs, signature.outputs)
    )
    return {1: inputs, 2: outputs, 3: signature.method}


def _status(state: VersionState) -> Mapping[int, Any]:
    status = {1: _UNKNOWN_ERROR, 2: state.reason} if state.reason else {}
    return {1: int(state.version), 2: _STATES[state.state], 3: status}
