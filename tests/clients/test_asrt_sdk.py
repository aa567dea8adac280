"""ASRT's own client, unmodified, against a pod that runs; in an environment of its own: its protobuf is an old one."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import program, until_ready
from tests.speech.spoken import HELLO, SILENCE, file, pcm, said, save

#: `asrt-sdk` asks for more than it needs, and for versions that exclude each other.
CLIENT = ["asrt-sdk==1.2.0"]
NEEDED = ["requests==2.32.5", "grpcio==1.76.0", "grpcio-tools==1.76.0", "numpy==2.3.5"]
CACHE = Path.home() / ".cache/tfpod-asrt-sdk"
#: Reads [METHOD, …arguments] as JSON; audio stands there as the name of a file.
CALL = """
import json, sys
from asrt_sdk import get_speech_recognizer
host, port, method, *arguments = json.load(sys.stdin)
if method not in ("recognite_file", "recognite_language"):
    with open(arguments[0], "rb") as audio:
        arguments[0] = audio.read()
answers = getattr(get_speech_recognizer(host, port, "http"), method)(*arguments)
answers = answers if isinstance(answers, list) else [answers]
json.dump([[answer.status_code, answer.status_message, answer.result] for answer in answers], sys.stdout)
"""


@pytest.fixture(scope="module")
def python() -> Path:
    """Return the interpreter of the environment; what was made once, complete, is used again."""
    folder = CACHE / hashlib.sha256(repr([sys.version, CLIENT, NEEDED]).encode()).hexdigest()[:16]
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        for packages in (["--no-deps", *CLIENT], NEEDED):
            command = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *packages]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode:
                pytest.skip(f"the client's packages cannot be had: {ended.stderr.strip().splitlines()[-1]}")
        (folder / "complete").touch()
    return folder / "bin/python"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Return host and port of a pod that hears."""
    folder = tmp_path_factory.mktemp("model")
    save(folder)
    with program(TFPOD_MODELS=f"m={folder}") as pod:
        api, admin = pod.urls()
        until_ready(admin)
        host, port = api.removeprefix("http://").split(":")
        yield host, port


class Client:
    """The client's calls, each in a process of its own."""

    def __init__(self, python: Path, address: tuple[str, str], folder: Path) -> None:
        self._python, self._address, self._folder = python, address, folder

    def call(self, method: str, given: Any, *arguments: Any) -> list[list[Any]]:
        """Return status code, message and result of each answer; bytes are given as audio."""
        if isinstance(given, bytes):
            path = self._folder / "audio"
            path.write_bytes(given)
            given = str(path)
        ended = subprocess.run(
            [self._python, "-c", CALL],
            input=json.dumps([*self._address, method, given, *arguments]),
            env=os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        answers: list[list[Any]] = json.loads(ended.stdout)
        return answers


@pytest.fixture
def client(python: Path, address: tuple[str, str], tmp_path: Path) -> Client:
    return Client(python, address, tmp_path)


SENTENCE = said(*SILENCE, *HELLO, *SILENCE)
FORM = (16_000, 1, 2)


def test_a_recording_becomes_text(client: Client) -> None:
    assert client.call("recognite", pcm(SENTENCE), *FORM) == [[200000, "all level", "你好"]]


def test_a_recording_becomes_syllables(client: Client) -> None:
    assert client.call("recognite_speech", pcm(SENTENCE), *FORM) == [[200000, "speech level", ["ni3", "hao3"]]]


def test_syllables_become_text(client: Client) -> None:
    assert client.call("recognite_language", ["ni3", "hao3"]) == [[200000, "language level", "你好"]]


def test_a_file_becomes_text(client: Client, tmp_path: Path) -> None:
    (tmp_path / "sentence.wav").write_bytes(file(SENTENCE))
    assert client.call("recognite_file", str(tmp_path / "sentence.wav")) == [[200000, "all level", "你好"]]


@pytest.mark.parametrize("seconds", [0, 9.9, 10, 20, 25])
def test_long_audio_becomes_texts_the_last_of_which_may_be_of_nothing(client: Client, seconds: float) -> None:
    """The client cuts every ten seconds, and what is left of a multiple of ten is an empty piece."""
    filler = said(*SILENCE * round(10 * seconds))
    samples = filler.copy()
    for start in range(0, len(samples) - len(SENTENCE), 160_000):
        samples[start : start + len(SENTENCE)] = SENTENCE
    answers = client.call("recognite_long", pcm(samples), *FORM)
    assert len(answers) == seconds // 10 + 1
    assert [answer[0] for answer in answers] == [200000] * len(answers)
    texts = [answer[2] for answer in answers]
    assert texts == ["你好" if seconds > 10 * number else "" for number in range(len(answers))]


def test_what_is_wrong_is_a_code_that_the_client_hands_on(client: Client) -> None:
    ((code, message, result),) = client.call("recognite", pcm(SENTENCE)[1:], *FORM)
    assert (code, result) == (500000, "")
    assert "no whole number of samples" in message
    ((code, message, _),) = client.call("recognite_language", ["foo9"])
    assert (code, message) == (500000, "'foo9' is no syllable of Mandarin")
