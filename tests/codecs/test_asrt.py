"""ASRT's requests and answers, to the byte where its clients look."""

import base64
import json
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from service.codecs import asrt
from service.codecs.asrt import Form, Recording
from service.errors import InvalidRequest, ModelFailed, Overloaded, PodError, TooLarge, Unauthenticated

SAMPLES = np.array([0, 1, -1, 32767, -32768, 255], "<i2").tobytes()
#: Its base64 has characters in which the two alphabets differ.
ODD = b"\xfb\xef\xff\xfe"


def recording(**changes: Any) -> bytes:
    document = {"samples": base64.b64encode(SAMPLES).decode(), "sample_rate": 16000, "channels": 1, "byte_width": 2}
    return json.dumps(document | changes).encode()


def test_a_recording_is_read() -> None:
    assert asrt.decode_recording(recording()) == Recording(SAMPLES, 16000, 1, 2)
    assert asrt.decode_recording(recording(sample_rate=8000, channels=2, byte_width=4))[1:] == (8000, 2, 4)
    assert asrt.decode_recording(recording(samples="", more={"x": 1})).data == b""


@pytest.mark.parametrize("encode", [base64.urlsafe_b64encode, base64.standard_b64encode, base64.encodebytes])
def test_base64_of_both_alphabets_and_in_lines_is_taken(encode: Any) -> None:
    assert asrt.decode_recording(recording(samples=encode(ODD * 50).decode())).data == ODD * 50


@pytest.mark.parametrize("key", ["samples", "sample_rate", "channels", "byte_width"])
def test_a_missing_key_is_named_as_asrt_names_it(key: str) -> None:
    document = json.loads(recording())
    del document[key]
    with pytest.raises(InvalidRequest, match=f"^'{key}'$"):
        asrt.decode_recording(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "not a JSON object"),
        (b"{", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'{"samples": "\xff"}', "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (recording(samples=5), "'samples' must be text"),
        (recording(samples="AAA"), "'samples' is no base64: Incorrect padding"),
        (recording(samples="A?=="), "'samples' is no base64"),
        (recording(samples="ä"), "'samples' is no base64"),
        (recording(sample_rate="16000"), "'sample_rate' must be a whole number"),
        (recording(sample_rate=16000.0), "'sample_rate' must be a whole number"),
        (recording(channels=True), "'channels' must be a whole number"),
        (recording(byte_width=None), "'byte_width' must be a whole number"),
    ],
)
def test_what_is_no_recording_is_refused(body: bytes, fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        asrt.decode_recording(body)


def test_pinyin_is_read() -> None:
    assert asrt.decode_pinyin(b'{"sequence_pinyin": ["ni3", "hao3"]}') == ["ni3", "hao3"]
    assert asrt.decode_pinyin(b'{"sequence_pinyin": []}') == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"{}", "^'sequence_pinyin'$"),
        (b'{"sequence_pinyin": "ni3"}', "must be a list"),
        (b'{"sequence_pinyin": [3]}', "must be a list"),
        (b'"ni3"', "not a JSON object"),
    ],
)
def test_what_is_no_pinyin_is_refused(body: bytes, fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        asrt.decode_pinyin(body)


def test_a_form_is_read_as_clients_of_old_write_it() -> None:
    fields = [("token", "qwert asd+%"), ("fs", 8000), *(("wavs", n) for n in np.frombuffer(SAMPLES, "<i2").tolist())]
    assert asrt.decode_form(urlencode(fields).encode()) == Form("qwert asd+%", Recording(SAMPLES, 8000))
    assert asrt.decode_form(urlencode(fields[::-1]).encode()).token == "qwert asd+%"
    assert asrt.decode_form(b"wavs=1&fs=16000&wavs=%2D2&other&x=y=z&") == Form(
        "", Recording(np.array([1, -2], "<i2").tobytes(), 16000)
    )
    assert asrt.decode_form(b"token=a&fs=16000").recording.data == b""


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "'fs' must be"),
        (b"wavs=1", "'fs' must be"),
        (b"fs=abc&wavs=1", "'fs' must be"),
        (b"fs=-1", "'fs' must be"),
        *((b"fs=16000&wavs=" + value, "every 'wavs' must be") for value in (b"x", b"1.5", b"32768", b"1_0", b"[1]")),
        (b"fs=16000&wavs=1&wavs=&wavs=2", "every 'wavs' must be"),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        asrt.decode_form(body)


def test_a_rate_of_any_number_of_digits_is_somebody_elses_business() -> None:
    assert asrt.decode_form(b"wavs=1&fs=" + b"9" * 10_000).recording.rate == 10**12 - 1


def test_answers_are_written_as_asrt_writes_them() -> None:
    assert asrt.encode(["ni3"], "speech level") == (
        b'{"result": ["ni3"], "status_code": 200000, "status_message": "speech level"}'
    )
    assert asrt.encode("你", "all level") == (
        b'{"result": "\\u4f60", "status_code": 200000, "status_message": "all level"}'
    )


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unauthenticated("no token"), 401, 400000),
        (TooLarge("too large"), 413, 400000),
        (Overloaded("full"), 429, 400000),
        (ModelFailed("failed"), 500, 500000),
    ],
)
def test_refusals_have_their_true_status_and_a_body_of_asrts(error: PodError, status: int, code: int) -> None:
    found, body = asrt.encode_error(error)
    assert found == status
    assert json.loads(body) == {"result": "", "status_code": code, "status_message": str(error)}
