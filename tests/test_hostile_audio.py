"""The bundled recogniser in the real program, sent what no microphone records: it hears or refuses, and goes on."""

import base64
import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
import soundfile

from service.speech.audio import RATE
from tests.program import Program, program, until_ready
from tests.speech import voice

PCM = {"Content-Type": "audio/pcm"}
SPEECH = voice.sentences(1)


class Pod(NamedTuple):
    """The program, a client of it, and what it hears in good speech."""

    program: Program
    http: httpx.Client
    heard: Any

    def transcribe(self, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.http.post("/v1/transcribe", content=body, headers=headers or {})

    def piece(self, number: int, body: bytes, **headers: str) -> httpx.Response:
        given = PCM | {"Tfpod-Sequence": str(number)} | {name.replace("_", "-"): text for name, text in headers.items()}
        return self.http.post("/v1/stream", content=body, headers=given)

    def asrt(self, path: str, **document: str) -> tuple[int, int, str]:
        """Return the HTTP status, and the code and the message in the body; values are JSON as it stands."""
        body = ",".join(f'"{name}":{value}' for name, value in document.items())
        answer = self.http.post(path, content=f"{{{body}}}".encode())
        told = answer.json()
        return answer.status_code, told["status_code"], told["status_message"]


@pytest.fixture(scope="module")
def pod() -> Iterator[Pod]:
    with program("--drain-delay=0", TFPOD_MODELS="speech=models/speech") as started:
        api, admin = started.urls()
        until_ready(admin)
        with httpx.Client(base_url=api, timeout=30) as client:
            heard = client.post("/v1/transcribe", content=SPEECH, headers=PCM).json()
            assert heard["syllables"]
            yield Pod(started, client, heard)


def wav(
    samples: bytes = SPEECH,
    *,
    rate: int = RATE,
    channels: int = 1,
    bits: int = 16,
    kind: int = 1,
    align: int | None = None,
    length: int | None = None,
) -> bytes:
    """Return a WAV file that says of itself what it is told to."""
    width = channels * bits // 8 if align is None else align
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * width & 0xFFFFFFFF, width, bits)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    size = len(samples) if length is None else length
    return b"RIFF" + struct.pack("<I", 36 + size & 0xFFFFFFFF) + head + b"data" + struct.pack("<I", size) + samples


def recording(content: bytes, **changes: str) -> dict[str, str]:
    """Return ASRT's fields, as JSON; a change of a field replaces its text."""
    text = json.dumps(base64.b64encode(content).decode())
    return {"samples": text, "sample_rate": str(RATE), "channels": "1", "byte_width": "2"} | changes


@pytest.mark.parametrize(
    "samples",
    [
        b"",
        b"\1\0",
        bytes(6 * RATE),
        b"\xff\x7f\x00\x80" * RATE,
        b"\xff\x7f" * 3 * RATE,
        bytes(RATE) + b"\xff\x7f" + bytes(RATE),
        np.random.default_rng(0).integers(-32768, 32768, 40 * RATE).astype("<i2").tobytes(),
    ],
    ids=["nothing", "one sample", "silence", "clipping", "constant", "click", "40 s of noise"],
)
def test_any_samples_are_audio_in_which_nothing_need_be_said(pod: Pod, samples: bytes) -> None:
    whole = pod.transcribe(samples, PCM)
    assert (whole.status_code, whole.json()["seconds"]) == (200, pytest.approx(len(samples) / 2 / RATE, abs=1e-3))
    assert pod.asrt("/speech", **recording(samples)) == (200, 200_000, "speech level")
    assert pod.piece(0, samples, Tfpod_Session="new").json()["ended"] == (not samples)


@pytest.mark.parametrize("size", [1, 3, 2 * RATE + 1])
def test_half_a_sample_is_refused_everywhere(pod: Pod, size: int) -> None:
    fault = f"{size} bytes are no whole number of samples of 2 bytes"
    for answer in (pod.transcribe(bytes(size), PCM), pod.piece(0, bytes(size), Tfpod_Session="new")):
        assert (answer.status_code, answer.json()["error"]) == (400, fault)
    assert pod.asrt("/speech", **recording(bytes(size))) == (200, 500_000, fault)


def test_a_piece_that_is_refused_leaves_its_session_as_it_was(pod: Pod) -> None:
    half = len(SPEECH) // 4 * 2
    texts = [pod.piece(0, SPEECH[:half], Tfpod_Session="new").json()["final"]]
    assert pod.piece(1, SPEECH[half:-1]).status_code == 400
    assert pod.piece(1, b"what is this", Content_Type="audio/wav").status_code == 415
    assert pod.piece(1, bytes((8 << 20) + 2)).status_code == 413
    assert [pod.piece(number, SPEECH).status_code for number in (2, 7)] == [400, 400]
    texts += [pod.piece(1, SPEECH[half:]).json()["final"], pod.piece(2, b"").json()["final"]]
    assert "".join(texts) == pod.heard["text"]


@pytest.mark.parametrize("rate", [0, 1, 3999, 192_001, 10**9, 2**32 - 1])
def test_a_rate_at_which_nobody_records_is_refused(pod: Pod, rate: int) -> None:
    assert pod.transcribe(wav(rate=rate)).status_code == 400
    status, code, fault = pod.asrt("/speech", **recording(SPEECH, sample_rate=str(rate)))
    assert (status, code, fault) == (200, 500_000, f"{rate} samples a second; 4000 to 192000 are taken")


@pytest.mark.parametrize("number", ["-1", "1e400", "1e3", "true", "null", '"16000"', "9" * 4000, "9" * 100_000])
@pytest.mark.parametrize("field", ["sample_rate", "channels", "byte_width"])
def test_a_number_that_is_none_is_refused(pod: Pod, field: str, number: str) -> None:
    status, code, fault = pod.asrt("/speech", **recording(SPEECH, **{field: number}))
    assert (status, code) in {(200, 500_000), (400, 400_000)}
    assert fault


@pytest.mark.parametrize(
    "text", ["5", "null", '["AA"]', '"AAA"', '"===="', '"A==="', '"AA=A"', '"A?=="', '"\\u0000"', '"\\ud83d"', '"你"']
)
def test_what_is_no_base64_is_refused(pod: Pod, text: str) -> None:
    status, code, fault = pod.asrt("/speech", **recording(b"", samples=text))
    assert (status, code) in {(200, 500_000), (400, 400_000)}
    assert fault


@pytest.mark.parametrize(
    "pinyin", ['[""]', '["foo9"]', '["ni6"]', '["ni33"]', '["ni3 hao3"]', '["你"]', '["ni3\\u0000"]', '"ni3"', "[3]"]
)
def test_pinyin_that_does_not_exist_is_refused(pod: Pod, pinyin: str) -> None:
    status, code, fault = pod.asrt("/language", sequence_pinyin=pinyin)
    assert (status, code) == (200, 500_000)
    assert "is no syllable of Mandarin" in fault or "must be a list of syllables" in fault


@pytest.mark.parametrize(
    ("file", "status"),
    [
        *((wav(length=length), 200) for length in (0, 1, 2**31 - 1, 2**32 - 1)),
        *((wav(align=align), 200) for align in (0, 1, 65535)),
        *((wav(channels=channels, align=2), 400) for channels in (0, 3, 65535)),
        *((wav(bits=bits, align=2), 400) for bits in (0, 64, 65535)),
        (wav(kind=0x1234), 400),
        (wav()[:30], 400),
        *(
            (wav(np.full(RATE, value, "<f4").tobytes(), kind=3, bits=32), 200)
            for value in (np.nan, np.inf, 3e38, 1e-45)
        ),
        (wav(np.tile([1e300, -1e300], RATE).tobytes(), kind=3, bits=64, rate=8000), 200),
        *((magic + bytes(200), 400) for magic in (b"fLaC", b"OggS", b"\xff\xfb\x90")),
        *((magic + bytes(200), 415) for magic in (b"RIFF", b"ID3")),
    ],
    ids=lambda value: repr(value[20:44]) if isinstance(value, bytes) else str(value),
)
def test_a_file_that_lies_is_heard_as_far_as_it_goes_or_refused(pod: Pod, file: bytes, status: int) -> None:
    answer = pod.transcribe(file)
    assert answer.status_code == status, answer.text
    assert pod.piece(0, file, Tfpod_Session="new", Content_Type="audio/wav").status_code == status


@pytest.mark.parametrize("path", ["/v1/transcribe", "/v1/stream", "/speech"])
def test_two_hours_that_nobody_announced_are_refused_and_not_kept(pod: Pod, path: str) -> None:
    seconds = (bytes(2 * RATE) for _ in range(7200))
    before = most_memory(pod)
    answer = pod.http.post(path, content=seconds, headers=PCM | {"Tfpod-Sequence": "0", "Tfpod-Session": "new"})
    assert (answer.status_code, "longer than 8388608 bytes" in answer.text) == (413, True)
    assert most_memory(pod) - before < 64


def most_memory(pod: Pod) -> float:
    """Return the most that the pod has taken yet, in MiB."""
    status = Path(f"/proc/{pod.program.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_files_broken_in_any_place_are_heard_or_refused(pod: Pod, form: str) -> None:
    target = io.BytesIO()
    soundfile.write(target, np.frombuffer(SPEECH, "<i2"), RATE, format=form)
    whole, random = target.getvalue(), np.random.default_rng(11)
    for _ in range(60):
        broken = bytearray(whole[: random.integers(12, len(whole))])
        # Headers are where it hurts.
        for place in (*random.integers(4, min(100, len(broken)), 2), *random.integers(4, len(broken), 2)):
            broken[place] = random.integers(256)
        answer = pod.transcribe(bytes(broken))
        assert answer.status_code in {200, 400, 413, 415}, answer.text


def test_after_all_that_it_hears_as_before_and_has_complained_of_nothing(pod: Pod) -> None:
    assert pod.transcribe(SPEECH, PCM).json() == pod.heard
    assert pod.program.end() == 0
    assert pod.program.process.stderr
    lines = list(pod.program.process.stderr)
    assert {json.loads(line)["level"] for line in lines if line.startswith("{")} == {"info"}
    # The others are libsndfile's reader of MP3's, which nothing switches off.
    assert "Traceback" not in "".join(lines)
