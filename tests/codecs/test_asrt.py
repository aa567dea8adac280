"""ASRT's requests and answers, to the byte where its clients look."""

import base64
import json
import tracemalloc
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from service.codecs import asrt, steps
from service.codecs.asrt import Recording
from service.errors import InvalidRequest, ModelFailed, Overloaded, PodError, Unauthenticated

SAMPLES = np.array([0, 1, -1, 32767, -32768, 255], "<i2").tobytes()
#: Its base64 has characters in which the two alphabets differ.
ODD = b"\xfb\xef\xff\xfe"


def document(**changes: Any) -> asrt.Document:
    """Return a recording's; a change to None leaves the key out."""
    whole = {"samples": base64.b64encode(SAMPLES).decode(), "sample_rate": 16000, "channels": 1, "byte_width": 2}
    return parsed({key: value for key, value in (whole | changes).items() if value is not None})


def parsed(value: Any) -> asrt.Document:
    return asrt.parse(json.dumps(value).encode())


def test_a_recording_is_read() -> None:
    assert asrt.recording(document()) == Recording(SAMPLES, 16000, 1, 2)
    assert asrt.recording(document(sample_rate=8000, channels=2, byte_width=4))[1:] == (8000, 2, 4)
    assert asrt.recording(document(samples="", more={"x": 1})).data == b""


@pytest.mark.parametrize("encode", [base64.urlsafe_b64encode, base64.standard_b64encode, base64.encodebytes])
def test_base64_of_both_alphabets_and_in_lines_is_taken(encode: Any) -> None:
    assert asrt.recording(document(samples=encode(ODD * 50).decode())).data == ODD * 50


def test_base64_is_read_at_once_however_many_blanks_are_in_it() -> None:
    given = document(samples="AA AB " * 100_000)
    tracemalloc.start()
    assert len(asrt.recording(given).data) == 300_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 600_000


@pytest.mark.parametrize("key", ["samples", "sample_rate", "channels", "byte_width"])
def test_a_missing_key_is_named_as_asrt_names_it(key: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^'{key}'$"):
        asrt.recording(document(**{key: None}))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"ni3"', b'{"samples": }', b"[" * 100_000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not a JSON object"):
        asrt.parse(body)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"samples": 5}, "'samples' must be text"),
        ({"samples": "AAA"}, "'samples' is no base64: Incorrect padding"),
        ({"samples": "A?=="}, "'samples' is no base64"),
        ({"samples": "ä"}, "'samples' is no base64"),
        ({"sample_rate": "16000"}, "'sample_rate' must be a whole number"),
        ({"sample_rate": 16000.0}, "'sample_rate' must be a whole number"),
        ({"channels": True}, "'channels' must be a whole number"),
        ({"byte_width": []}, "'byte_width' must be a whole number"),
    ],
)
def test_what_is_no_recording_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        asrt.recording(document(**changes))


def test_samples_that_are_no_text_are_refused() -> None:
    body = b'{"samples": "\xff", "sample_rate": 16000, "channels": 1, "byte_width": 2}'
    with pytest.raises(InvalidRequest, match="'samples' must be text"):
        asrt.recording(asrt.parse(body))


def test_pinyin_is_read() -> None:
    assert asrt.pinyin(asrt.parse(b'{"sequence_pinyin": ["ni3", "hao3"]}')) == ["ni3", "hao3"]
    assert asrt.pinyin(parsed({"sequence_pinyin": []})) == []


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, "^'sequence_pinyin'$"),
        ({"sequence_pinyin": "ni3"}, "must be a list"),
        ({"sequence_pinyin": [3]}, "must be a list"),
        ({"sequence_pinyin": ["a"] * 30_000}, "^'sequence_pinyin' is longer than 131072 bytes$"),
    ],
)
def test_what_is_no_pinyin_is_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        asrt.pinyin(parsed(given))


def test_a_form_is_read_as_clients_of_old_write_it() -> None:
    fields = [("token", "qwert asd+%"), ("fs", 8000), *(("wavs", n) for n in np.frombuffer(SAMPLES, "<i2").tolist())]
    for order in (fields, fields[::-1]):
        assert asrt.token(urlencode(order).encode()) == "qwert asd+%"
    assert asrt.form(urlencode(fields).encode()) == Recording(SAMPLES, 8000)
    assert asrt.form(b"wavs=1&fs=16000&wavs=%2D2&other&x=y=z&") == Recording(b"\1\0\xfe\xff", 16000)
    assert asrt.form(b"token=a&fs=16000") == Recording(b"", 16000)


@pytest.mark.parametrize(
    ("body", "token"),
    [
        (b"token=a&token=b", "a"),
        (b"x&token=a&y=token=b", "a"),
        (b"atoken=a&&token=b&", "b"),
        (b"token&token=b=c", "b=c"),
        (b"fs=16000&token=" + b"x" * 10, "x" * 10),
        (b"&" * 1000 + b"&token" * 1000 + b"&token=a", "a"),
    ],
)
def test_a_forms_token_is_its_first_field_of_that_name(body: bytes, token: str) -> None:
    assert asrt.token(body) == token


@pytest.mark.parametrize("step", [20, 50, 1000])
def test_a_form_is_read_in_steps_as_at_once(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(steps, "STEP", step)
    numbers = np.arange(-300, 300, 7, dtype="<i2")
    fields = [f"wavs={number}&other={number}".replace("-", "%2D") for number in numbers]
    assert asrt.form(f"{'&'.join(fields)}&fs=8000".encode()) == Recording(numbers.tobytes(), 8000)
    with pytest.raises(InvalidRequest, match="every 'wavs'"):
        asrt.form(f"fs=8000&{'&'.join(fields)}&wavs=".encode())


@pytest.mark.parametrize(
    "body", [b"", b"token", b"token=", b"mytoken=x", b"wavs=1&fs=token=x", b"token=" + b"x" * 70_000]
)
def test_a_form_may_have_no_token(body: bytes) -> None:
    assert asrt.token(body) == ""


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
        asrt.form(body)


def test_a_rate_of_any_number_of_digits_is_somebody_elses_business() -> None:
    assert asrt.form(b"wavs=1&fs=" + b"9" * 10_000).rate == 10**12 - 1


def test_answers_are_written_as_asrt_writes_them() -> None:
    assert asrt.encode(["ni3"], "speech level") == (
        b'{"result": ["ni3"], "status_code": 200000, "status_message": "speech level"}'
    )
    assert asrt.encode("你", "all level") == (
        b'{"result": "\\u4f60", "status_code": 200000, "status_message": "all level"}'
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [(Unauthenticated("no token"), 400000), (Overloaded("full"), 400000), (ModelFailed("failed"), 500000)],
)
def test_refusals_have_a_body_of_asrts(error: PodError, code: int) -> None:
    assert json.loads(asrt.encode_error(error)) == {"result": "", "status_code": code, "status_message": str(error)}
