"""ASRT's HTTP API: JSON of today's clients, and the form of those before version 1.2.

Source: asrserver_http.py and client_http.py of ASRT 1.3, asrserver.py of 1.1 (nl8590687/ASRT_SpeechRecognition).
Its server answers every well-formed request with HTTP 200 and says in `status_code` what came of it.
"""

import base64
import binascii
import json
import re
import string
from typing import Final, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from service.codecs import http, numeric, steps
from service.errors import InvalidRequest, PodError
from service.types import ELEMENT_TYPES

T = TypeVar("T")

OK: Final = 200_000
CLIENT_ERROR: Final = 400_000
SERVER_ERROR: Final = 500_000

_NUMBERS: Final = ("sample_rate", "channels", "byte_width")
_ABSENT: Final = msgspec.Raw(b"")
#: A form's token of more bytes would not fit into a header either.
_LONGEST_TOKEN: Final = 1 << 16
#: The bytes of a list of more syllables than are written at once, which it would take long to read.
_LONGEST_PINYIN: Final = 1 << 17
#: Base64's one alphabet of the other.
_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")
#: Every field of a form but samples.
_OTHERS: Final = re.compile(rb"&(?!wavs=)[^&]*")
_INT16: Final = next(element for element in ELEMENT_TYPES if element.tensorflow == "DT_INT16")


class Recording(NamedTuple):
    """Audio as it was sent: little-endian signed integers of `width` bytes, the channels side by side."""

    data: bytes
    rate: int
    channels: int = 1
    width: int = 2


class Document(msgspec.Struct):
    """A request's JSON object: what of it is looked at, none of it read yet."""

    samples: msgspec.Raw = _ABSENT
    sample_rate: msgspec.Raw = _ABSENT
    channels: msgspec.Raw = _ABSENT
    byte_width: msgspec.Raw = _ABSENT
    sequence_pinyin: msgspec.Raw = _ABSENT


def parse(body: bytes) -> Document:
    """Return a request's JSON object. Raises InvalidRequest, which ASRT answers with HTTP 400, all else with 200."""
    try:
        return msgspec.json.decode(body, type=Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"not a JSON object: {error}") from None


def recording(document: Document) -> Recording:
    """Return the audio of {"samples": base64, "sample_rate": Hz, "channels", "byte_width"}; both alphabets are taken.

    Raises InvalidRequest; of a missing key the text is ASRT's, the key in quotes.
    """
    samples, *numbers = (_present(document, name) for name in ("samples", *_NUMBERS))
    read = [_read(text, name, int, "a whole number") for name, text in zip(_NUMBERS, numbers, strict=True)]
    return Recording(_base64(_read(samples, "samples", str, "text: base64 of the samples")), *read)


def pinyin(document: Document) -> list[str]:
    """Return the syllables of {"sequence_pinyin": ["ni3", …]}. Raises InvalidRequest."""
    text = _present(document, "sequence_pinyin")
    if len(text) > _LONGEST_PINYIN:
        raise InvalidRequest(f"'sequence_pinyin' is longer than {_LONGEST_PINYIN} bytes")
    return _read(text, "sequence_pinyin", list[str], "a list of syllables")


def token(body: bytes) -> str:
    """Return the token in a form, nothing if there is none."""
    found = _field(body, b"token")
    return unquote_to_bytes(found.replace(b"+", b" ")).decode(errors="replace") if len(found) <= _LONGEST_TOKEN else ""


def form(body: bytes) -> Recording:
    """Return the audio of `token=…&fs=16000&wavs=1&wavs=-2…`; a second of it is 16,000 fields.

    Raises InvalidRequest.
    """
    rate = _field(body, b"fs")
    if not rate.isdigit():
        raise InvalidRequest("'fs' must be a whole number")
    numbers = b"".join(map(_wavs, steps.cut(body, b"&", steps.STEP)))[1:]
    samples = numeric.read(b"[%s]" % numbers, _INT16, 1)
    if samples is None:
        raise InvalidRequest("every 'wavs' must be a whole number of 16 bits")
    return Recording(samples.tobytes(), int(rate[:12]))


def encode(result: str | list[str], message: str, code: int = OK) -> bytes:
    """Return {"result", "status_code", "status_message"}: `result` is a text, or the list of syllables."""
    return json.dumps({"result": result, "status_code": code, "status_message": message}).encode()


def encode_error(error: PodError) -> bytes:
    """Return the body of a refusal, whose HTTP status tells the same."""
    return encode("", str(error), CLIENT_ERROR if http.status_of(error) < 500 else SERVER_ERROR)


def _field(body: bytes, name: bytes) -> bytes:
    """Return the value of a form's field as it is written, nothing if there is none."""
    head = b"%s=" % name
    begin = 0 if body.startswith(head) else body.find(b"&" + head) + 1
    if not body.startswith(head, begin):
        return b""
    end = body.find(b"&", begin)
    return body[begin + len(head) : end if end >= 0 else len(body)]


def _wavs(fields: bytes) -> bytes:
    """Return the samples among some fields, each after a comma."""
    found = _OTHERS.sub(b"", b"&" + fields).replace(b"&wavs=", b",")
    return unquote_to_bytes(found) if b"%" in found and len(found) < 2 * steps.STEP else found


def _present(document: Document, name: str) -> msgspec.Raw:
    text: msgspec.Raw = getattr(document, name)
    if text is _ABSENT:
        raise InvalidRequest(f"'{name}'")
    return text


def _read(text: msgspec.Raw, name: str, kind: type[T], meaning: str) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest(f"{name!r} must be {meaning}") from None


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode().translate(_ALPHABET, string.whitespace.encode()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"'samples' is no base64: {error}") from None
