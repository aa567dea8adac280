"""Speech over HTTP, over real sockets: what is heard is told, what is wrong is named, and sessions are kept."""

import asyncio
import base64
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
import pytest

from service import transcription
from service.app import Pod
from service.door.bodies import LARGE
from service.errors import NotReady, Overloaded
from service.settings import Settings
from service.speech import cut, stream
from service.speech.audio import RATE, Samples, from_file
from service.speech.recogniser import Recogniser
from service.types import Runner, Tensors
from tests.serving import both
from tests.speech.spoken import HELLO, SILENCE, Reader, describe, file, pcm, said

pytestmark = pytest.mark.anyio

#: One sentence of 1.4 s.
SENTENCE = said(*SILENCE, *HELLO, *SILENCE * 5, *HELLO)
PCM = {"Content-Type": "audio/pcm"}
OK, BROKEN = 200_000, 500_000


@dataclass
class Speaking:
    """A pod that hears, and clients of both of its ports."""

    pod: Pod
    http: httpx.AsyncClient
    admin: httpx.AsyncClient

    async def asrt(self, path: str, **document: Any) -> Any:
        """Return ASRT's answer, which comes with HTTP 200."""
        answer = await self.http.post(path, json=document)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        return answer.json()

    async def piece(self, number: int | str, samples: Samples, **options: Any) -> httpx.Response:
        headers = PCM | {"Tfpod-Sequence": str(number)} | options.pop("headers", {})
        return await self.http.post("/v1/stream", content=pcm(samples), headers=headers, **options)

    async def metric(self, name: str) -> float:
        text = (await self.admin.get("/metrics")).text
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


@contextlib.asynccontextmanager
async def speaking(tmp_path: Path, runner: Runner | None = None, **settings: Any) -> AsyncIterator[Speaking]:
    if not (tmp_path / "model").exists():
        describe(tmp_path / "model/1")
        (tmp_path / "model/1/saved_model.pb").touch()
    made = runner or Reader()
    pod = Pod(Settings(models=f"m={tmp_path}/model", **settings), "9.9.9", lambda _: None, lambda _: made)
    async with both(pod) as (_, client, probe):
        while (await probe.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.001)
        yield Speaking(pod, client, probe)


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Speaking]:
    async with speaking(tmp_path) as found:
        yield found


@pytest.fixture
def tokens(tmp_path: Path) -> str:
    path = tmp_path / "tokens"
    path.write_text("secret\nother\n")
    return str(path)


def recording(data: bytes = pcm(SENTENCE), **changes: Any) -> dict[str, Any]:
    whole = {"samples": base64.urlsafe_b64encode(data).decode(), "sample_rate": RATE, "channels": 1, "byte_width": 2}
    return whole | changes


def form(samples: Samples = SENTENCE, **fields: Any) -> dict[str, Any]:
    numbers = np.frombuffer(pcm(samples), "<i2").tolist()
    content = urlencode([*({"fs": RATE} | fields).items(), *(("wavs", number) for number in numbers)])
    return {"content": content, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


# ASRT


async def test_asrt_tells_syllables_and_text(pod: Speaking) -> None:
    assert await pod.asrt("/speech", **recording()) == {
        "result": ["ni3", "hao3"] * 2,
        "status_code": OK,
        "status_message": "speech level",
    }
    heard = {"result": "你好你好", "status_code": OK}
    assert await pod.asrt("/all", **recording()) == heard | {"status_message": "all level"}
    written = await pod.asrt("/language", sequence_pinyin=["ni3", "hao3"] * 2)
    assert written == heard | {"status_message": "language level"}


@pytest.mark.parametrize(
    ("data", "changes"),
    [
        (pcm(said(*HELLO, rate=8000)), {"sample_rate": 8000}),
        (pcm(said(*HELLO, rate=48_000)), {"sample_rate": 48_000}),
        (pcm(np.repeat(said(*HELLO), 2)), {"channels": 2}),
        (pcm(said(*HELLO), 4), {"byte_width": 4}),
    ],
    ids=["8 kHz", "48 kHz", "two channels", "32 bits"],
)
async def test_asrt_takes_what_its_own_server_does_not(pod: Speaking, data: bytes, changes: dict[str, int]) -> None:
    assert (await pod.asrt("/all", **recording(data, **changes)))["result"] == "你好"


@pytest.mark.parametrize(
    ("data", "changes", "result"),
    [
        (b"", {}, ""),
        (b"\x01\x00", {}, ""),
        (pcm(said(*SILENCE * 30)), {}, ""),
        (b"\xff\x7f\x00\x80" * 8000, {}, None),
    ],
    ids=["nothing", "one sample", "silence", "clipping"],
)
async def test_audio_without_words_is_no_error(
    pod: Speaking, data: bytes, changes: dict[str, int], result: str | None
) -> None:
    answer = await pod.asrt("/all", **recording(data, **changes))
    assert answer["status_code"] == OK
    assert result is None or answer["result"] == result
    whole = await pod.http.post("/v1/transcribe", content=data, headers=PCM)
    assert (whole.status_code, whole.json()["text"]) == (200, answer["result"])


@pytest.mark.parametrize(
    ("path", "document", "message"),
    [
        ("/all", {}, "'samples'"),
        ("/speech", {"samples": ""}, "'sample_rate'"),
        ("/all", recording(b"\0\0\0"), "3 bytes are no whole number of samples of 2 bytes"),
        ("/all", recording(samples="A"), "'samples' is no base64: "),
        ("/all", recording(samples="\u4f60"), "'samples' is no base64: "),
        ("/all", recording(byte_width=1), "1 bytes a sample; 2 or 4 are taken"),
        ("/all", recording(channels=7), "7 channels; 1 or 2 are taken"),
        *(("/all", recording(sample_rate=rate), f"{rate} samples a second; ") for rate in (-1, 0, 1, 3999, 10**9)),
        ("/language", {}, "'sequence_pinyin'"),
        ("/language", {"sequence_pinyin": ["ni3", "foo9"]}, "'foo9' is no syllable of Mandarin"),
        ("/language", {"sequence_pinyin": ["ni3"] * 2049}, "2049 syllables; at most 2048 are taken"),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_what_is_wrong_with_a_request_is_told_in_asrts_way(
    pod: Speaking, path: str, document: dict[str, Any], message: str
) -> None:
    answer = await pod.asrt(path, **document)
    assert (answer["result"], answer["status_code"]) == ("", BROKEN)
    assert answer["status_message"].startswith(message)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("path", ["/speech", "/language", "/all"])
async def test_what_is_no_json_object_is_a_bad_request(pod: Speaking, path: str, body: bytes) -> None:
    answer = await pod.http.post(path, content=body)
    assert (answer.status_code, answer.json()["status_code"], answer.json()["result"]) == (400, 400_000, "")


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        ({}, {}, 401),
        ({}, {"Authorization": "Bearer wrong"}, 403),
        ({"max_body_bytes": 10}, {"Authorization": "Bearer secret"}, 413),
        ({"request_timeout": 1e-4}, {"Authorization": "Bearer secret"}, 504),
    ],
    ids=str,
)
async def test_refusals_at_the_door_have_their_status_and_a_body_of_asrts(
    tmp_path: Path, tokens: str, settings: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    async with speaking(tmp_path, tokens_file=tokens, **settings) as pod:
        answer = await pod.http.post("/all", json=recording(), headers=headers)
        assert answer.status_code in (status, 408 if status == 504 else status)
        assert sorted(answer.json()) == ["result", "status_code", "status_message"]
        assert answer.json()["status_code"] == (BROKEN if status >= 500 and answer.status_code != 408 else 400_000)


async def test_without_a_model_of_speech_nothing_is_heard(tmp_path: Path) -> None:
    async with speaking(tmp_path) as pod:
        pass
    (tmp_path / "model/1/assets.extra/labels.txt").unlink()
    async with speaking(tmp_path) as pod:
        answer = await pod.http.post("/all", json=recording())
        assert (answer.status_code, answer.json()["status_message"]) == (404, "no model of speech is served here")
        assert (await pod.piece(0, SENTENCE)).status_code == 404


async def test_a_model_may_be_named_and_the_first_is_meant_otherwise(tmp_path: Path) -> None:
    """The second one has no language, and the third no labels."""
    for name in ("a", "b", "c"):
        describe(tmp_path / name / "1")
        (tmp_path / name / "1/saved_model.pb").touch()
    (tmp_path / "b/1/assets.extra/language.npz").unlink()
    (tmp_path / "c/1/assets.extra/labels.txt").unlink()
    models = ",".join(f"{name}={tmp_path / name}" for name in ("a", "b", "c"))
    pod = Pod(Settings(models=models), "9.9.9", lambda _: None, lambda _: Reader())
    async with both(pod) as (_, client, probe):
        while (await probe.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.001)
        whole: dict[str, Any] = {"content": pcm(SENTENCE), "headers": PCM | {"Tfpod-Sequence": "0"}}
        for path, request in (("/v1/transcribe", whole), ("/v1/stream", whole), ("/all", {"json": recording()})):
            for query, text in (("", "你好"), ("?model=a", "你好"), ("?model=b", "")):
                client.cookies.clear()
                answer = (await client.post(path + query, **request)).json()
                heard = answer.get("result", answer.get("text", answer.get("final", "") + answer.get("partial", "")))
                assert (bool(heard), heard[:2]) == (bool(text), text)
            for query, fault in (("?model=c", "model 'c' is none of speech"), ("?model=x", "Latest(x)")):
                client.cookies.clear()
                refused = await client.post(path + query, **request)
                assert (refused.status_code, fault in refused.text) == (404, True)


async def test_without_a_language_syllables_are_told_and_no_text(tmp_path: Path) -> None:
    describe(tmp_path / "model/1")
    (tmp_path / "model/1/saved_model.pb").touch()
    (tmp_path / "model/1/assets.extra/language.npz").unlink()
    async with speaking(tmp_path) as pod:
        assert (await pod.asrt("/speech", **recording()))["result"] == ["ni3", "hao3"] * 2
        answer = await pod.http.post("/language", json={"sequence_pinyin": ["ni3"]})
        assert (answer.status_code, answer.json()["status_code"]) == (501, BROKEN)


# ASRT's old API


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", ""])
async def test_asrts_root_says_that_it_is_there(pod: Speaking, media_type: str) -> None:
    answer = await pod.http.post("/", content=b"{}", headers={"Content-Type": media_type})
    assert answer.content == b'{"result": "", "status_code": 200000, "status_message": "ok"}'


async def test_a_form_is_answered_with_the_text(pod: Speaking) -> None:
    answer = await pod.http.post("/", **form(token="qwertasd"))
    assert (answer.status_code, answer.text) == (200, "你好你好")
    assert answer.headers["content-type"].startswith("text/plain")
    assert (await pod.http.post("/", **form(said(*HELLO, rate=8000), fs=8000))).text == "你好"


@pytest.mark.parametrize("fields", [{}, {"token": ""}, {"token": "wrong"}, {"token": "wrong", "fs": "x"}], ids=str)
async def test_a_bad_token_in_a_form_is_answered_as_of_old(tmp_path: Path, tokens: str, fields: dict[str, Any]) -> None:
    async with speaking(tmp_path, tokens_file=tokens) as pod:
        refused = await pod.http.post("/", **form(**fields))
        assert (refused.status_code, refused.text) == (403, "403")
        assert (await pod.http.post("/", **form(token="secret"))).text == "你好你好"


async def test_strangers_do_not_count_for_scaling_until_their_token_is_known(tmp_path: Path, tokens: str) -> None:
    async with speaking(tmp_path, tokens_file=tokens) as pod:
        await pod.http.post("/", json={})
        await pod.http.post("/", **form(token="wrong"))
        assert await pod.metric('tfpod_requests_total{route="asrt_root"}') == 0
        assert await pod.metric('tfpod_rejected_total{reason="permission_denied"}') == 1
        await pod.http.post("/", **form(token="secret"))
        assert await pod.metric('tfpod_requests_total{route="asrt_root"}') == 1


async def test_strangers_cannot_take_the_places_of_those_who_have_tokens(tmp_path: Path, tokens: str) -> None:
    room: dict[str, Any] = {"max_body_bytes": 4 << 20, "max_binary_bytes": 4 << 20, "max_inflight_bytes": 8 << 20}
    async with speaking(tmp_path, tokens_file=tokens, max_inflight=32, **room) as pod:
        declared = {"Content-Length": str(4 << 20), "Content-Type": "application/x-www-form-urlencoded"}
        flood = [asyncio.create_task(pod.http.post("/", content=unending(), headers=declared)) for _ in range(40)]
        while (
            await pod.metric("tfpod_inflight_requests") != 2
            or await pod.metric('tfpod_rejected_total{reason="overloaded"}') != 38
        ):
            await asyncio.sleep(0.01)
        headers = {"Authorization": "Bearer secret"}
        answers = await asyncio.gather(*(pod.http.post("/all", json=recording(), headers=headers) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)


async def unending() -> AsyncIterator[bytes]:
    """Yield a body's beginning and never its end."""
    yield b"token=wrong"
    await asyncio.Event().wait()


@pytest.mark.parametrize("fields", [{"fs": "x"}, {"fs": 7}, {"wavs": "x"}], ids=str)
async def test_a_form_that_is_none_is_refused(pod: Speaking, fields: dict[str, Any]) -> None:
    answer = await pod.http.post("/", **form(**fields))
    assert (answer.status_code, answer.json()["status_code"]) == (400, 400_000)


async def test_a_form_longer_than_strangers_may_send_is_refused(pod: Speaking) -> None:
    answer = await pod.http.post("/", **form(np.zeros(700_000, np.float32)))
    assert answer.status_code == 413
    assert "/v1/stream" in answer.json()["status_message"]


# Recordings


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
@pytest.mark.parametrize("rate", [16_000, 48_000])
async def test_files_are_transcribed(pod: Speaking, form: str, rate: int) -> None:
    samples = said(*SILENCE, *HELLO, rate=rate)
    answer = (await pod.http.post("/v1/transcribe", content=file(samples, rate, form))).json()
    assert (answer["text"], answer["seconds"]) == ("你好", 0.5)
    assert answer["words"] == [{"text": "你好", "begin": 0.1, "end": 0.5}]
    assert [sound["syllable"] for sound in answer["syllables"]] == ["ni3", "hao3"]


@pytest.mark.parametrize("form", ["OGG", "MP3"])
async def test_files_that_lose_something_are_read_too(pod: Speaking, form: str) -> None:
    answer = await pod.http.post("/v1/transcribe", content=file(SENTENCE, form=form))
    assert answer.status_code == 200
    assert answer.json()["seconds"] == pytest.approx(len(SENTENCE) / RATE, abs=0.2)


@pytest.mark.parametrize("media_type", ["audio/pcm", "application/octet-stream", "Audio/PCM; rate=16000"])
async def test_bare_samples_are_transcribed(pod: Speaking, media_type: str) -> None:
    answer = await pod.http.post("/v1/transcribe", content=pcm(SENTENCE), headers={"Content-Type": media_type})
    assert answer.json()["text"] == "你好你好"


@pytest.mark.parametrize("claimed", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
async def test_a_wav_that_lies_about_its_length_is_heard_as_far_as_it_goes(pod: Speaking, claimed: int) -> None:
    data = bytearray(file(SENTENCE))
    place = data.index(b"data") + 4
    data[place : place + 4] = claimed.to_bytes(4, "little")
    answer = await pod.http.post("/v1/transcribe", content=bytes(data))
    assert answer.status_code == 200
    assert answer.json()["text"] == ("你好你好" if claimed > len(data) else "")


@pytest.mark.parametrize(
    ("content", "headers", "status", "text"),
    [
        (b"", {}, 415, "no audio in WAV, FLAC, OGG or MP3"),
        (b"hello, world, here I am", {}, 415, "no audio"),
        (b"RIFF\0\0\0\0WAVEfmt ", {}, 400, "cannot be read"),
        (b"\0\0\0", PCM, 400, "no whole number of samples"),
        (file(SENTENCE, 1000), {}, 400, "1000 samples a second"),
        (file(np.zeros((100, 3), np.float32)), {}, 400, "3 channels"),
    ],
    ids=lambda value: str(value)[:16],
)
async def test_what_is_no_recording_is_refused(
    pod: Speaking, content: bytes, headers: dict[str, str], status: int, text: str
) -> None:
    answer = await pod.http.post("/v1/transcribe", content=content, headers=headers)
    assert (answer.status_code, text in answer.json()["error"]) == (status, True), answer.text


class Slow(Reader):
    """Takes half its audio's time."""

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        threading.Event().wait(np.shape(inputs["samples"])[1] / RATE / 2)
        return super().run(signature, inputs)


async def test_audio_that_cannot_be_done_in_time_is_refused_at_once_naming_sessions(tmp_path: Path) -> None:
    async with speaking(tmp_path, Slow(), request_timeout=5) as pod:
        assert (await pod.http.post("/v1/transcribe", content=pcm(SENTENCE), headers=PCM)).status_code == 200
        computed = await pod.metric('tfpod_batch_rows_count{model="m"}')
        minute = np.zeros(60 * RATE, np.float32)
        answers = [
            await pod.http.post("/v1/transcribe", content=pcm(minute), headers=PCM),
            await pod.http.post("/v1/transcribe", content=file(minute, form="FLAC")),
            await pod.http.post("/all", json=recording(pcm(minute))),
        ]
        for answer in answers:
            assert answer.status_code == 413
            assert "; send long audio in pieces to /v1/stream" in answer.text
        assert sorted(answers[2].json()) == ["result", "status_code", "status_message"]
        assert await pod.metric('tfpod_batch_rows_count{model="m"}') == computed


def threads_of(monkeypatch: pytest.MonkeyPatch, *functions: tuple[object, str]) -> dict[str, int]:
    """Return the threads in which functions, given by owner and name, have run last."""
    where: dict[str, int] = {}

    def note(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def noted(*args: Any) -> Any:
            where[name] = threading.get_ident()
            return real(*args)

        monkeypatch.setattr(owner, name, noted)

    for owner, name in functions:
        note(owner, name)
    return where


async def test_what_long_audio_takes_holds_no_others(pod: Speaking, monkeypatch: pytest.MonkeyPatch) -> None:
    where = threads_of(monkeypatch, (cut, "pieces"), (cut, "joined"), (stream, "pending"), (transcription, "_told"))
    long = np.tile(SENTENCE, 15)
    answer = await pod.http.post("/v1/transcribe", content=pcm(long), headers=PCM)
    assert (answer.json()["text"], (await pod.piece(0, long)).status_code) == ("你好" * 30, 200)
    assert len(where) == 4
    assert threading.get_ident() not in where.values()


@pytest.mark.parametrize(("count", "alone"), [(2, False), (20, True)])
async def test_what_many_syllables_take_holds_no_others(
    pod: Speaking, monkeypatch: pytest.MonkeyPatch, count: int, alone: bool
) -> None:
    where = threads_of(monkeypatch, (Recogniser, "write"))
    assert (await pod.asrt("/language", sequence_pinyin=["ni3", "hao3"] * (count // 2)))["status_code"] == OK
    assert (where["write"] != threading.get_ident()) == alone


async def test_two_hours_are_refused(pod: Speaking) -> None:
    hours = np.zeros(2 * 3600 * 8000, np.int16)
    packed = await pod.http.post("/v1/transcribe", content=file(hours, 8000, "FLAC"))
    upload = await pod.http.post("/v1/transcribe", content=file(hours, 8000))
    for answer in (packed, upload):
        assert (answer.status_code, "/v1/stream" in answer.json()["error"]) == (413, True)


def parts_of_files(monkeypatch: pytest.MonkeyPatch, after: Callable[[], object]) -> list[int]:
    """Return the list of the lengths that files have reached, which grows as they are decoded; call `after` each."""
    lengths = []

    def watched(data: bytes, longest: float) -> Iterator[Samples]:
        for samples in from_file(data, longest):
            lengths.append(len(samples))
            after()
            yield samples

    monkeypatch.setattr(transcription, "from_file", watched)
    return lengths


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event for which threads wait until it is set, or the test is over."""
    event = threading.Event()
    yield event
    event.set()


MINUTE = file(np.zeros(60 * RATE, np.float32), form="FLAC")


async def test_a_file_is_decoded_no_further_when_nobody_waits_for_it(
    pod: Speaking, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = pod.pod._decoder
    lengths = parts_of_files(monkeypatch, lambda: decoder.submit(gate.wait))
    request = asyncio.create_task(pod.http.post("/v1/transcribe", content=MINUTE))
    while not lengths:
        await asyncio.sleep(0.001)
    request.cancel()
    while not await pod.metric('tfpod_rejected_total{reason="client_gone"}'):
        await asyncio.sleep(0.001)
    gate.set()
    await asyncio.wrap_future(decoder.submit(int))
    assert len(lengths) == 1


async def test_files_leave_all_others_their_turns(
    pod: Speaking, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = parts_of_files(monkeypatch, gate.wait)
    files = [asyncio.create_task(pod.http.post("/v1/transcribe", content=MINUTE)) for _ in range(4)]
    while not lengths:
        await asyncio.sleep(0.001)
    large = pcm(np.tile(SENTENCE, 2))
    assert len(large) > LARGE
    answer = await pod.http.post("/v1/transcribe", content=large, headers=PCM)
    assert (answer.status_code, len(lengths)) == (200, 1)
    gate.set()
    assert {answer.status_code for answer in await asyncio.gather(*files)} == {200}


async def test_what_is_decoded_takes_the_room_of_bodies_as_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = parts_of_files(monkeypatch, lambda: None)
    settings: dict[str, Any] = dict.fromkeys(["max_body_bytes", "max_binary_bytes", "max_inflight_bytes"], 1 << 20)
    async with speaking(tmp_path, **settings) as pod:
        assert len(MINUTE) < 100_000
        answer = await pod.http.post("/v1/transcribe", content=MINUTE)
        assert (answer.status_code, answer.headers["retry-after"], len(lengths)) == (429, "1", 1)
        assert (await pod.http.post("/v1/transcribe", content=pcm(SENTENCE), headers=PCM)).status_code == 200


async def test_what_a_session_has_not_heard_yet_takes_room_too(tmp_path: Path) -> None:
    """The body, its samples of twice the bytes, and as many that are put together with those before."""
    piece = np.tile(SENTENCE, 20)
    settings: dict[str, Any] = dict.fromkeys(["max_body_bytes", "max_binary_bytes"], 2 * len(piece))
    for times, status in ((4, 429), (6, 200)):
        async with speaking(tmp_path, max_inflight_bytes=times * 2 * len(piece), **settings) as pod:
            assert (await pod.piece(0, piece)).status_code == status


# Sessions


def cut_up(samples: Samples, seconds: float) -> list[Samples]:
    size = int(seconds * RATE)
    return [samples[start : start + size] for start in range(0, len(samples), size)]


SPEECH = said(*(HELLO * 2 + SILENCE * 9) * 10)
NOTHING = SPEECH[:0]


@pytest.mark.parametrize("first", [0, 1])
async def test_a_session_says_what_the_whole_says(pod: Speaking, first: int) -> None:
    final, begins = "", []
    for number, piece in enumerate([*cut_up(SPEECH, 0.7), NOTHING], first):
        answer = (await pod.piece(number, piece)).json()
        assert sorted(answer) == ["ended", "final", "partial", "syllables", "words"]
        assert answer["ended"] == (not len(piece))
        final += answer["final"]
        begins += [word["begin"] for word in answer["words"][: len(answer["final"]) // 2]]
    assert final == "你好" * 20
    assert answer["partial"] == ""
    assert begins == pytest.approx(
        [1.7 * sentence + 0.4 * word for sentence in range(10) for word in range(2)], abs=0.06
    )


async def test_the_cookie_is_an_opaque_id_that_scripts_do_not_see(pod: Speaking) -> None:
    first = await pod.piece(0, SENTENCE)
    name, *attributes = first.headers["set-cookie"].split("; ")
    assert len(name.removeprefix("tfpod_session=")) == 32
    assert {"HttpOnly", "SameSite=strict"} <= set(attributes)
    assert "set-cookie" not in (await pod.piece(1, SENTENCE)).headers


async def test_a_piece_that_is_sent_again_is_answered_again(pod: Speaking) -> None:
    for number, piece in enumerate([SENTENCE, SENTENCE, NOTHING]):
        once, twice = await pod.piece(number, piece), await pod.piece(number, piece)
        if number:
            assert (twice.status_code, twice.content) == (200, once.content)


@pytest.mark.parametrize("number", [0, 3, 4, 999])
async def test_pieces_out_of_order_are_refused(pod: Speaking, number: int) -> None:
    for sequence in (0, 1, 2)[: 2 if number == 3 else 3]:
        await pod.piece(sequence, SENTENCE)
    if number == 3:
        refused = await pod.piece(3, SENTENCE)
        assert (refused.status_code, refused.json()["error"]) == (400, "piece 3 is out of order: 2 is next")
        assert (await pod.piece(2, SENTENCE)).status_code == 200
        return
    refused = await pod.piece(number, SENTENCE)
    assert (refused.status_code, refused.json()["error"]) == (400, f"piece {number} is out of order: 3 is next")
    assert (await pod.piece(3, SENTENCE)).status_code == 200


async def test_after_the_end_there_are_no_pieces_but_another_session(pod: Speaking) -> None:
    await pod.piece(0, SENTENCE)
    assert (await pod.piece(1, NOTHING)).json()["ended"]
    refused = await pod.piece(2, SENTENCE)
    assert (refused.status_code, "the session ended with piece 1" in refused.json()["error"]) == (400, True)
    again = await pod.piece(0, SENTENCE, headers={"Tfpod-Session": "new"})
    assert (again.status_code, "set-cookie" in again.headers) == (200, True)


@pytest.mark.parametrize("number", ["", "-1", "x", "1.5", "\u0661", "9" * 10])
async def test_a_piece_needs_a_number(pod: Speaking, number: str) -> None:
    headers = {b"Tfpod-Sequence": number.encode()}
    answer = await pod.http.post("/v1/stream", content=pcm(SENTENCE), headers=headers)
    assert (answer.status_code, "must tell the piece's number" in answer.json()["error"]) == (400, True)


async def test_a_later_piece_without_a_cookie_is_refused(pod: Speaking) -> None:
    answer = await pod.piece(2, SENTENCE)
    assert (answer.status_code, "without the cookie" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("cookie", ["0" * 32, "x", "", "../../etc/passwd", "A" * 3000])
async def test_a_cookie_that_is_made_up_is_refused(pod: Speaking, cookie: str) -> None:
    for number in (0, 1, 7):
        answer = await pod.piece(number, SENTENCE, headers={"Cookie": f"tfpod_session={cookie}"})
        assert (answer.status_code, "session" in answer.json()["error"]) == (404, True)


async def test_a_session_is_its_tokens_alone_and_ends_if_nobody_asks(tmp_path: Path, tokens: str) -> None:
    async with speaking(tmp_path, tokens_file=tokens, session_seconds=1) as pod:
        mine, other = ({"Authorization": f"Bearer {token}"} for token in ("secret", "other"))
        assert (await pod.piece(0, SENTENCE, headers=mine)).status_code == 200
        assert (await pod.piece(1, SENTENCE, headers=other)).status_code == 404
        assert (await pod.piece(1, SENTENCE, headers=mine)).status_code == 200
        while (answer := await pod.piece(1, SENTENCE, headers=mine)).status_code == 200:
            await asyncio.sleep(0.05)
        assert (answer.status_code, "it has ended" in answer.json()["error"]) == (404, True)


async def test_an_open_pod_does_not_care_who_a_proxy_says_it_is(pod: Speaking) -> None:
    for number in range(3):
        answer = await pod.piece(number, SENTENCE, headers={"Authorization": f"Bearer {number}"})
        assert answer.status_code == 200


async def test_a_token_has_so_many_sessions_at_once(tmp_path: Path) -> None:
    async with speaking(tmp_path, max_sessions_per_token=2) as pod:
        new = {"Tfpod-Session": "new"}
        for _ in range(4):
            assert (await pod.piece(0, SENTENCE, headers=new)).status_code == 200
            assert (await pod.piece(1, NOTHING)).status_code == 200
        for _ in range(2):
            assert (await pod.piece(0, SENTENCE, headers=new)).status_code == 200
        computed = await pod.metric('tfpod_batch_rows_count{model="m"}')
        refused = await pod.piece(0, SENTENCE, headers=new)
        assert (refused.status_code, "2 sessions" in refused.json()["error"]) == (429, True)
        assert await pod.metric('tfpod_batch_rows_count{model="m"}') == computed, "it is not heard before"


async def test_of_several_tokens_the_one_that_lets_in_has_the_session(tmp_path: Path, tokens: str) -> None:
    async with speaking(tmp_path, tokens_file=tokens, max_sessions_per_token=2) as pod:
        answers = []
        for number in range(3):
            several = [("Authorization", f"Bearer {number}"), ("Authorization", "Bearer secret")]
            headers = [*PCM.items(), ("Tfpod-Sequence", "0"), ("Tfpod-Session", "new"), *several]
            answers.append(await pod.http.post("/v1/stream", content=pcm(SENTENCE), headers=headers))
        assert [answer.status_code for answer in answers] == [200, 200, 429]


async def test_the_same_piece_twice_at_once_is_heard_once(pod: Speaking) -> None:
    await pod.piece(0, SENTENCE)
    answers = await asyncio.gather(*(pod.piece(1, SENTENCE) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert (await pod.piece(2, SENTENCE)).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"), [(Overloaded("the store of sessions is full"), 429), (NotReady("the store is down"), 503)]
)
@pytest.mark.parametrize("method", ["create", "load", "replace"])
async def test_a_store_that_is_full_or_down_is_told_of_and_loses_nothing(
    pod: Speaking, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception, status: int
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise error

    number = 0
    if method != "create":
        number = 1
        await pod.piece(0, SENTENCE)
    with monkeypatch.context() as patch:
        patch.setattr(pod.pod._sessions, method, fail)
        answer = await pod.piece(number, SENTENCE)
        assert (answer.status_code, answer.json()["error"]) == (status, str(error))
        assert answer.headers["retry-after"]
    assert (await pod.piece(number, SENTENCE)).status_code == 200


async def test_a_pod_without_sessions_says_so(tmp_path: Path) -> None:
    async with speaking(tmp_path, max_sessions=0) as pod:
        answer = await pod.piece(0, SENTENCE)
        assert (answer.status_code, answer.json()) == (501, {"error": "this pod keeps no sessions"})
        assert (await pod.asrt("/all", **recording()))["result"] == "你好你好"


@pytest.mark.parametrize(
    ("ask", "route"),
    [
        (lambda pod: pod.asrt("/speech", **recording()), "asrt_speech"),
        (lambda pod: pod.asrt("/all", **recording()), "asrt_all"),
        (lambda pod: pod.asrt("/language", sequence_pinyin=["ni3"]), "asrt_language"),
        (lambda pod: pod.http.post("/v1/transcribe", content=pcm(SENTENCE), headers=PCM), "transcribe"),
        (lambda pod: pod.piece(0, SENTENCE), "stream_piece"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_speech_counts_for_scaling_by_its_routes_name(
    pod: Speaking, ask: Callable[[Speaking], Any], route: str
) -> None:
    await ask(pod)
    assert await pod.metric(f'tfpod_requests_total{{route="{route}"}}') == 1
    assert await pod.metric(f'tfpod_responses_total{{code="200",route="{route}"}}') == 1
    assert json.loads((await pod.http.get("/openapi.json")).text)["paths"]
