"""Messages that somebody has changed: each is a call or is refused, and none takes long or much memory."""

import random
import tracemalloc
from typing import Any, Final

import numpy as np
import pytest

from service.codecs.grpc import oip, tfserving, wire
from service.errors import InvalidRequest
from service.types import ELEMENT_TYPES, Call, Reply, Signatures
from tests.codecs.forms import random_array, signatures, spec
from tests.codecs.grpc import messages

_ARRAYS: Final = {element.oip: random_array(np.random.default_rng(1), element, (2, 3)) for element in ELEMENT_TYPES}
ALL: Final = signatures({element.oip: spec(element, None, 3) for element in ELEMENT_TYPES})
_IN_CONTENTS: Final = {name: array for name, array in _ARRAYS.items() if name != "FP16"}
CONTENTS: Final = signatures({name: ALL["serving_default"].inputs[name] for name in _IN_CONTENTS})


def _infer(*, raw: bool) -> bytes:
    request = messages.infer(_ARRAYS if raw else _IN_CONTENTS, "FP32", raw=raw)
    request.id, request.model_version = "7", "3"
    request.parameters["timeout"].int64_param = 1000
    request.parameters["priority"].uint64_param = 1
    request.parameters["signature_name"].string_param = "serving_default"
    request.parameters["other"].double_param = 0.5
    body: bytes = request.SerializeToString()
    return body


#: Each kind of request, whose it is, and the model that it is for.
GOOD: Final[dict[str, tuple[bytes, Any, Signatures]]] = {
    "predict by content": (messages.predict(_ARRAYS, "FP32").SerializeToString(), tfserving, ALL),
    "predict by value": (
        messages.predict({name: messages.tensor(array) for name, array in _ARRAYS.items()}).SerializeToString(),
        tfserving,
        ALL,
    ),
    "infer in raw": (_infer(raw=True), oip, ALL),
    "infer in contents": (_infer(raw=False), oip, CONTENTS),
}
KIND: Final = pytest.mark.parametrize("kind", GOOD)


def decode(body: bytes, kind: str) -> Call:
    _, codec, of = GOOD[kind]
    request = wire.load(memoryview(body))
    codec.model_of(request)
    call: Call = codec.decode(request, of)
    return call


def answered_or_refused(body: bytes, kind: str) -> bool:
    """Tell whether it is a call, to which there must be an answer."""
    try:
        call = decode(body, kind)
    except InvalidRequest:
        return False
    return bool(GOOD[kind][1].encode(call, Reply(call.inputs, "m", "1")))


def field(number: int, value: Any) -> bytes:
    """Return one field: an integer, or bytes; four or eight of them in a tuple are a number of fixed size."""
    if not isinstance(value, tuple):
        return wire.dump({number: value})
    data: bytes = value[0]
    return wire.dump({0: number << 3 | (5 if len(data) == 4 else 1)})[1:] + data


def altered(body: bytes, chance: random.Random) -> bytes:
    """Return a message with one field changed, here or further inside, whose lengths are right."""
    fields = [(number, value) for number, values in wire.load(body).items() for value in values]
    place = chance.randrange(len(fields))
    number, value = fields[place]
    if isinstance(value, bytes) and value and chance.random() < 0.75:
        try:
            fields[place] = number, altered(value, chance)
            return b"".join(field(*each) for each in fields)
        except InvalidRequest:
            pass
    change = chance.randrange(5)
    if change == 0:
        del fields[place]
    elif change == 1:
        fields.insert(chance.randrange(len(fields)), fields[place])
    elif change == 2:
        fields[place] = chance.randrange(1, 18), value
    else:
        others = [0, 1, -1, 2**31, 2**62, 2**63, b"", b"\xff", b"\x80\x01", bytes(99), (bytes(4),), (b"\xff" * 8,)]
        fields[place] = number, chance.choice(others)
    return b"".join(field(*each) for each in fields)


def broken(body: bytes, chance: random.Random) -> bytes:
    """Return a message with some bytes flipped, cut, put in or said twice."""
    place, size = chance.randrange(len(body)), chance.randrange(9)
    new = chance.choice([b"", chance.randbytes(size), b"\xff" * size, body[place : place + 20] * 2])
    return body[:place] + new + body[place + chance.choice([0, 1, size, len(body)]) :]


@KIND
def test_a_message_as_clients_send_it_is_a_call(kind: str) -> None:
    assert answered_or_refused(GOOD[kind][0], kind)


@KIND
def test_a_message_cut_anywhere_is_a_call_or_is_refused(kind: str) -> None:
    body = GOOD[kind][0]
    assert not any(answered_or_refused(body[:end], kind) for end in range(len(body) - 20))


@KIND
@pytest.mark.parametrize("change", [altered, broken])
def test_a_message_changed_in_any_way_is_a_call_or_is_refused(kind: str, change: Any) -> None:
    chance, calls = random.Random(kind), 0
    for _ in range(2000):
        body = change(GOOD[kind][0], chance)
        if chance.random() < 0.3 and body:
            body = change(body, chance)
        calls += answered_or_refused(body, kind)
    assert 0 < calls < 2000


def _request(tensor: bytes) -> bytes:
    return wire.dump({1: {1: "m"}, 2: [{1: "INT8", 2: tensor}]})


_SHAPE: Final = wire.dump({1: 6, 2: {2: [{1: 1 << 20}, {1: 3}]}})


@pytest.mark.parametrize(
    ("body", "most"),
    [
        pytest.param(b"\x12\x00" * (1 << 20), 1, id="entries"),
        pytest.param(b"\x1a\x00" * (1 << 20), 1, id="filters"),
        pytest.param(b"".join(wire.dump({number: 0}) for number in range(1, 1 << 16)), 1, id="numbers"),
        pytest.param(wire.dump({1: {1: "m" * (8 << 20)}}), 10, id="a name"),
        pytest.param(_request(_SHAPE + wire.dump({7: b"\x01" * (3 << 20)})), 12, id="packed"),
        pytest.param(_request(_SHAPE + wire.dump({7: b"\x81\x01" * (3 << 20)})), 16, id="packed but too large"),
        pytest.param(_request(_SHAPE + b"\x38\x01" * (1 << 17)), 6, id="one by one"),
        pytest.param(_request(_SHAPE + b"\x3a\x01\x01" * (1 << 17)), 12, id="in pieces of one"),
        pytest.param(_request(wire.dump({1: 6, 2: {2: b"\x08\x01" * (1 << 20)}})), 4, id="a shape"),
    ],
)
def test_memory_is_in_proportion_to_the_message(body: bytes, most: int) -> None:
    one = signatures({"INT8": spec("int8", None, 3)})
    tracemalloc.start()
    try:
        request = wire.load(memoryview(body))
        tfserving.model_of(request)
        tfserving.decode(request, one)
    except InvalidRequest:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < most << 20
