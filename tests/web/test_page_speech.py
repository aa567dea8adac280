"""The page for speech, in a browser with a microphone that plays a recording: a person speaks and reads along."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.browser import EXECUTABLE, Browser, browser
from tests.program import program, until_ready
from tests.speech import words

pytestmark = [
    pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium is installed"),
    pytest.mark.timeout(300),
]

RATE, FRAME = 16_000, 1_600
#: Each syllable is a tone, 200 Hz above the one before.
LABELS = ["ni3", "hao3", "ma5"]
LOWEST, APART = 400, 200
TEXT = "你好吗你好"
PINYIN = ["nǐ", "hǎo", "ma", "nǐ", "hǎo"]

SPEAK = ".speak"
STATE = "(speak => speak && (speak.disabled ? 'busy' : speak.textContent))(document.querySelector('.speak'))"
FINAL, PARTIAL = ".final", ".partial"
#: Seconds that are recorded so far.
LENGTH = "parseFloat(document.querySelector('.level .facts').innerText)"
FAULT = "document.querySelector('[role=alert]').innerText"


def spoken(*syllables: str) -> np.ndarray:
    """Return 0.3 s of each syllable's tone, 0.2 s of silence after each."""
    time = np.arange(int(0.3 * RATE)) / RATE
    tones = [0.3 * np.sin(2 * np.pi * (LOWEST + APART * LABELS.index(each)) * time) for each in syllables]
    return np.concatenate([np.concatenate([tone, np.zeros(int(0.2 * RATE))]) for tone in tones])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that hears which tone is the loudest in each frame, and silence where none is loud."""
    import tensorflow as tf  # noqa: PLC0415 - seconds long

    folder = tmp_path_factory.mktemp("speech") / "1"
    phases = 2j * np.pi * np.outer(np.arange(FRAME) / RATE, LOWEST + APART * np.arange(len(LABELS)))
    waves = tf.constant(np.exp(phases) / FRAME, tf.complex64)

    def hear(samples: Any, lengths: Any) -> dict[str, Any]:
        padded = tf.pad(samples, [[0, 0], [0, -tf.shape(samples)[1] % FRAME]])
        frames = tf.reshape(padded, [tf.shape(samples)[0], -1, FRAME])
        loudness = tf.abs(tf.matmul(tf.cast(frames, tf.complex64), waves[None]))
        silence = tf.fill([tf.shape(frames)[0], tf.shape(frames)[1], 1], 0.02)
        return {"scores": tf.concat([loudness, silence], 2), "frames": -(-lengths // FRAME)}

    ear = tf.Module()
    ear.hear = tf.function(hear, [tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32)])
    tf.saved_model.save(ear, str(folder), signatures=ear.hear)
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "labels.txt").write_text("\n".join([*LABELS, "_"]))
    words.write(folder / "assets.extra" / "language.npz", [("你好", "ni3 hao3", 0.2), ("吗", "ma5", 0.1)])
    return folder.parent


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "recording.wav"
    parts = [np.zeros(RATE // 2), spoken("ni3", "hao3", "ma5"), np.zeros(RATE), spoken("ni3", "hao3")]
    soundfile.write(path, np.concatenate(parts), RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory, recording: Path) -> Iterator[Browser]:
    options = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={recording}%noloop",
        "--host-resolver-rules=MAP elsewhere.test 127.0.0.1",
    ]
    with browser(tmp_path_factory.mktemp("profile"), *options) as running:
        yield running


@pytest.fixture(scope="module")
def pod(model: Path) -> Iterator[str]:
    with program(TFPOD_MODELS=f"digits=models/digits,speech={model}") as started:
        api, admin = started.urls()
        until_ready(admin)
        yield api


@pytest.fixture
def page(chromium: Browser, pod: str) -> Iterator[Browser]:
    """The page, opened anew; at the end nothing must have gone wrong in it."""
    with chromium.opened(f"{pod}/#speech", SPEAK):
        yield chromium


def characters(page: Browser, selector: str) -> str:
    """Return the characters without the pinyin above them."""
    return "".join(
        page.evaluate(
            f"[...document.querySelectorAll('{selector} ruby')].flatMap(ruby => [...ruby.childNodes])"
            ".filter(node => node.nodeType === Node.TEXT_NODE).map(node => node.data)"
        )
    )


def say(page: Browser, until: str = f"document.querySelectorAll('.spoken rt').length === {len(PINYIN)}") -> None:
    """Speak, until an expression is true."""
    page.until(f"{STATE} === 'Speak'")
    page.click(SPEAK)
    page.until(until)
    if page.evaluate(STATE) == "Stop":
        page.click(SPEAK)
    page.until(f"{STATE} === 'Speak'")


def answer_for(page: Browser, *answers: str) -> None:
    """Have the pieces answered by these expressions, one after the other, and the service be asked for `null`.

    What was asked is kept in `asked`: each piece's number, and whether it begins a session.
    """
    page.evaluate(
        f"""(() => {{
        const real = window.fetch.bind(window), answers = [{", ".join(f"() => {one}" for one in answers)}];
        window.asked = [];
        window.fetch = async (path, options) => {{
            if (!path.startsWith("v1/stream")) return real(path, options);
            const headers = options.headers;
            window.asked.push([headers["Tfpod-Sequence"], headers["Tfpod-Session"] ?? "", options.body.byteLength]);
            return answers.shift()?.() ?? real(path, options);
        }};
    }})()"""
    )


def refusal(status: int, after: int = 0) -> str:
    headers = f"{{'Retry-After': '{after}'}}" if after else "{}"
    return f'new Response(\'{{"error": "no way"}}\', {{status: {status}, headers: {headers}}})'


def test_text_stands_there_while_one_speaks(page: Browser) -> None:
    page.click(SPEAK)
    page.until(f"document.querySelectorAll('{PARTIAL} rt').length > 0")
    assert page.evaluate(STATE) == "Stop"
    assert float(page.evaluate("document.querySelector('[role=meter]').getAttribute('aria-valuenow')")) >= 0
    page.until(f"document.querySelectorAll('{FINAL} rt').length === {len(PINYIN)}")
    assert page.evaluate(STATE) == "Stop"
    page.click(SPEAK)
    page.until(f"{STATE} === 'Speak'")
    assert characters(page, FINAL) == TEXT
    assert page.evaluate(f"[...document.querySelectorAll('{FINAL} rt')].map(rt => rt.innerText)") == PINYIN
    assert page.evaluate(f"document.querySelector('{PARTIAL}').innerText") == ""
    assert re.search(r"heard in pieces in \d+ ms: real-time factor \d", page.text(".answer .facts"))


def test_words_stand_below_the_sound_when_they_are_heard(page: Browser) -> None:
    say(page)
    places = page.evaluate("[...document.querySelectorAll('.said span')].map(s => [s.innerText, s.offsetLeft])")
    assert [text for text, _ in places] == ["你好", "吗", "你好"]
    length = page.evaluate(
        "document.querySelector('.track').offsetWidth / document.querySelector('.wave canvas').ariaValueMax"
    )
    one, two, three = (left / length for _, left in places)
    assert two - one == pytest.approx(1.0, abs=0.15)
    assert three - two == pytest.approx(1.5, abs=0.15)
    inked = page.evaluate(
        "(canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"
        ".filter((value, n) => n % 4 === 3 && value).length)(document.querySelector('.wave canvas'))"
    )
    assert inked > 1000


def test_a_word_is_played_by_a_click_and_all_by_the_button(page: Browser) -> None:
    say(page)
    for selector in (".said span", ".recording button", ".wave canvas"):
        page.click(selector)
        assert page.text(".recording button") == "Stop"
        page.until("document.querySelector('.wave canvas').ariaValueNow > 0")
        page.click(".recording button")
        assert page.text(".recording button") == "Play"


def test_a_recording_is_walked_through_by_keys(page: Browser, recording: Path) -> None:
    choose(page, recording)
    page.evaluate("document.querySelector('.wave canvas').focus()")
    page.press("ArrowRight", 7)
    page.press("ArrowLeft")
    assert page.evaluate("document.activeElement.getAttribute('aria-valuetext')") == "1.5 s 吗"
    page.press(" ")
    assert page.text(".recording button") == "Stop"


def test_speaking_again_begins_anew(page: Browser) -> None:
    for _ in range(2):
        say(page)
        assert characters(page, FINAL) == TEXT
    page.call("Page.reload")
    say(page)
    assert characters(page, FINAL) == TEXT


def test_a_piece_that_does_not_arrive_is_sent_again_until_it_does(page: Browser) -> None:
    answer_for(page, "null", refusal(503, after=1), "Promise.reject(new TypeError('no network'))", refusal(429), "null")
    say(page)
    assert characters(page, FINAL) == TEXT
    numbers = [int(number) for number, _, _ in page.evaluate("asked")]
    assert numbers == [0, 1, 1, 1, *range(1, numbers[-1] + 1)]
    assert [begins for _, begins, _ in page.evaluate("asked")] == ["new", *[""] * (len(numbers) - 1)]
    sizes = [size for _, _, size in page.evaluate("asked")]
    assert sizes[1] == sizes[2] == sizes[3] == sizes[4] > 0
    assert sizes[-1] == 0


@pytest.mark.parametrize("answer", [refusal(501), refusal(429, after=300)], ids=["switched off", "too many"])
def test_without_a_session_the_recording_is_sent_as_a_whole(page: Browser, answer: str) -> None:
    answer_for(page, answer)
    say(page, f"{LENGTH} > 4.1")
    assert "There is no text while you speak" in page.evaluate(FAULT)
    assert "no way" in page.evaluate(FAULT)
    assert characters(page, FINAL) == TEXT
    assert len(page.evaluate("asked")) == 1
    assert "in pieces" not in page.text(".answer .facts")


def test_a_browser_listens_in_one_tab_at_a_time(page: Browser) -> None:
    page.evaluate("void navigator.locks.request('/v1/stream', () => new Promise(() => {}))")
    say(page, f"{LENGTH} > 4.1")
    assert "another tab of this browser is listening" in page.evaluate(FAULT)
    assert characters(page, FINAL) == TEXT


def test_a_model_that_tells_no_words_is_read_as_pinyin_meanwhile(page: Browser) -> None:
    syllables = [{"syllable": "ni3", "begin": 0.5, "end": 0.8}]
    heard = json.dumps({"final": "", "partial": "", "words": [], "syllables": syllables})
    answer_for(page, *[f"new Response('{heard}')"] * 100)
    say(page, f"document.querySelector('{PARTIAL}').innerText.trim() === 'nǐ' && {LENGTH} > 4.1")
    assert characters(page, FINAL) == TEXT


def test_a_model_that_tells_no_words_is_heard_although_silence_comes_last(page: Browser) -> None:
    heard, silence = (
        json.dumps({"final": "", "partial": "", "words": [], "syllables": syllables})
        for syllables in ([{"syllable": "ni3", "begin": 0.5, "end": 0.8}], [])
    )
    answer_for(page, f"new Response('{heard}')", *[f"new Response('{silence}')"] * 100)
    say(page, f"asked.length > 2 && {LENGTH} > 4.1")
    assert characters(page, FINAL) == TEXT


def test_a_microphone_that_is_switched_off_is_told_of(page: Browser) -> None:
    page.evaluate(
        "navigator.mediaDevices.getUserMedia = async () => new AudioContext().createMediaStreamDestination().stream, 0"
    )
    say(page, f"{LENGTH} > 0.5")
    assert "Nothing could be heard" in page.evaluate(FAULT)


@pytest.mark.parametrize("answers", [["null", "null", refusal(400)], [refusal(401)]])
def test_a_fault_stops_the_recording_and_is_told(page: Browser, answers: list[str]) -> None:
    answer_for(page, *answers)
    say(page, f"{FAULT} && {STATE} === 'Speak'")
    assert "no way" in page.evaluate(FAULT)
    assert len(page.evaluate("asked")) == len(answers)


@pytest.mark.parametrize(
    ("name", "told"), [("NotAllowedError", "is not allowed"), ("NotFoundError", "No microphone was found"), ("X", "oh")]
)
def test_a_browser_that_gives_no_microphone_is_told_of(page: Browser, name: str, told: str) -> None:
    page.evaluate(
        f"navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('oh', '{name}')), undefined"
    )
    page.click(SPEAK)
    assert told in page.until(FAULT)
    assert page.until(STATE) == "Speak"


def test_a_page_that_did_not_come_by_https_is_given_none(chromium: Browser, pod: str) -> None:
    chromium.open(f"{pod.replace('127.0.0.1', 'elsewhere.test')}/#speech")
    chromium.text(SPEAK)
    chromium.click(SPEAK)
    assert "HTTPS" in chromium.until(FAULT)


def test_the_microphone_is_given_back_when_another_model_is_looked_at(page: Browser) -> None:
    page.evaluate(
        "(() => { const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
        "navigator.mediaDevices.getUserMedia = async (asked) => (window.given = await real(asked)); })()"
    )
    page.click(SPEAK)
    page.until(f"{STATE} === 'Stop'")
    page.evaluate("location.hash = '#digits'")
    page.until("given.getTracks().every(track => track.readyState === 'ended')")


def choose(page: Browser, path: Path) -> None:
    found = page.call("Runtime.evaluate", expression="document.querySelector('input[type=file]')")
    page.call("DOM.setFileInputFiles", files=[str(path)], objectId=found["result"]["objectId"])
    page.until(f"document.querySelector('.answer .facts').innerText || {FAULT}")
    page.until(f"{STATE} === 'Speak'")


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_a_file_is_heard(page: Browser, recording: Path, tmp_path: Path, kind: str) -> None:
    samples, rate = soundfile.read(recording)
    soundfile.write(tmp_path / f"sound.{kind}", np.stack([samples, samples], 1), rate)
    choose(page, tmp_path / f"sound.{kind}")
    assert characters(page, FINAL) == TEXT
    assert page.evaluate("document.querySelectorAll('.said span').length") == 3
    assert re.match(r"4\.0 s of sound, heard in \d+ ms", page.text(".answer .facts"))


def test_a_file_that_is_no_sound_is_told_of(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "letter.wav").write_text("Dear Sir or Madam")
    choose(page, tmp_path / "letter.wav")
    assert "no audio in WAV" in page.evaluate(FAULT)
    assert page.evaluate("document.querySelector('.recording').hidden")


def test_a_file_can_be_dropped(page: Browser, recording: Path) -> None:
    page.evaluate(
        "(sound => { const dataTransfer = new DataTransfer();"
        "dataTransfer.items.add(new File([Uint8Array.from(atob(sound), one => one.charCodeAt())], 'sound'));"
        "for (const kind of ['dragover', 'drop'])"
        " document.querySelector('.ask').dispatchEvent(new DragEvent(kind, { dataTransfer, cancelable: true }));"
        f"}})('{base64.b64encode(recording.read_bytes()).decode()}')"
    )
    page.until(f"document.querySelector('.answer .facts').innerText && {STATE} === 'Speak'")
    assert characters(page, FINAL) == TEXT


def test_the_lines_for_the_shell_hear_the_same(page: Browser, recording: Path) -> None:
    for way, first in ((1, "curl"), (2, "tail")):
        page.click(f".curl label:nth-of-type({way}) span")
        command = page.text(".curl code")
        assert command.startswith(first)
        command = command.replace("curl ", "curl -sS ")
        done = subprocess.run(["sh", "-ec", command], cwd=recording.parent, capture_output=True, check=True, timeout=60)
        answers = [json.loads(one + "}") for one in re.split(r"\}(?=\{)|\}$", done.stdout.decode()) if one]
        assert "".join(answer.get("final", answer.get("text")) for answer in answers) == TEXT


def test_what_was_spoken_can_be_saved_for_the_shell(page: Browser, tmp_path: Path) -> None:
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    say(page)
    page.click(".curl p button:nth-of-type(2)")
    saved = tmp_path / "recording.wav"
    while not saved.is_file():
        page.evaluate("new Promise(requestAnimationFrame)")
    samples, rate = soundfile.read(saved)
    assert rate == RATE
    assert len(samples) / rate == pytest.approx(
        float(page.evaluate("document.querySelector('.wave canvas').ariaValueMax")), abs=0.01
    )


def test_a_token_goes_along(chromium: Browser, model: Path, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("s3cret")
    with program("--models", f"speech={model}", "--tokens-file", str(tmp_path / "tokens")) as started:
        api, admin = started.urls()
        until_ready(admin)
        chromium.open(api)
        chromium.text("#model .fault")
        chromium.evaluate("document.getElementById('secret').value = 's3cret'")
        chromium.click("#token button")
        chromium.text(SPEAK)
        say(chromium)
        assert characters(chromium, FINAL) == TEXT
        assert '-H "Authorization: Bearer $TOKEN"' in chromium.text(".curl code")


def test_each_model_is_heard_on_its_own_page(chromium: Browser, model: Path, recording: Path, tmp_path: Path) -> None:
    """The other one writes the same syllables in other words."""
    other = shutil.copytree(model, tmp_path / "other")
    words.write(other / "1/assets.extra/language.npz", [("泥号", "ni3 hao3", 0.2), ("嘛", "ma5", 0.1)])
    with program("--models", f"speech={model},other={other}") as started:
        api, admin = started.urls()
        until_ready(admin)
        for name, text in (("other", "泥号嘛泥号"), ("speech", TEXT)):
            with chromium.opened(f"{api}/#{name}", SPEAK):
                choose(chromium, recording)
                assert characters(chromium, FINAL) == text
                say(chromium)
                assert characters(chromium, FINAL) == text
                assert f"/v1/transcribe?model={name}'" in chromium.text(".curl code")


def test_pinyin_has_its_tones_above_the_right_vowel(page: Browser) -> None:
    syllables = {
        "zhong1": "zhōng",
        "hao3": "hǎo",
        "xue2": "xué",
        "lv4": "lǜ",
        "lve4": "lüè",
        "gui4": "guì",
        "liu2": "liú",
    }
    syllables |= {"dou1": "dōu", "xiong2": "xióng", "er2": "ér", "ma5": "ma", "ng4": "ǹg", "m2": "ḿ", "nv3": "nǚ"}
    found = page.evaluate(f"import('./page/transcript.js').then(m => {json.dumps([*syllables])}.map(m.marked))")
    assert found == [*syllables.values()]


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_what_a_microphone_hears_comes_at_16_khz_whatever_its_rate(page: Browser, rate: int) -> None:
    sound = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    parts = [part.tolist() for part in np.array_split(sound, rate // 1024)]
    found = page.evaluate(
        "import('./page/samples.js').then(({ resampler, joined }) => {"
        f"const parts = {json.dumps(parts)}, convert = resampler({rate});"
        "return [...joined(parts.map(part => convert(Float32Array.from(part))))]; })"
    )
    assert len(found) == pytest.approx(RATE, abs=60)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(found)) / RATE)
    assert np.abs(np.array(found) - expected)[100:].max() < 0.01


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_it_fits_every_screen(page: Browser, pod: str, recording: Path, width: int, scheme: str) -> None:
    page.open(f"{pod}/?{width}{scheme}#speech", width=width, scheme=scheme)
    page.text(SPEAK)
    choose(page, recording)
    assert characters(page, FINAL) == TEXT
    assert page.evaluate("document.documentElement.scrollWidth") <= width
