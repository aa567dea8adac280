"""Two pods of the program with one Redis: a session goes on in the other when one of them ends, and nothing is lost."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.program import Program, program, until_ready
from tests.speech.spoken import HELLO, SILENCE, pcm, said, save

SPEECH = said(*(HELLO * 2 + SILENCE * 9) * 8)
PIECE = 11_200


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Redis, and give its address."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("needs redis-server (Debian: redis-server)")
    path = tmp_path_factory.mktemp("redis") / "socket"
    command = [found, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(path.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("eady to accept connections" in line for line in process.stdout)
        yield f"unix://{path}"
        process.kill()
        process.stdout.read()


@contextlib.contextmanager
def pods(folder: Path, redis: str, count: int) -> Iterator[list[tuple[Program, str]]]:
    """Run so many pods that share the Redis; yield each with its address."""
    save(folder / "model")
    settings: dict[str, Any] = {"TFPOD_MODELS": f"m={folder}/model", "TFPOD_SESSIONS_URL": redis}
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(program("--drain-delay=0", **settings)) for _ in range(count)]
        addresses = [pod.urls() for pod in started]
        for _, admin in addresses:
            until_ready(admin)
        yield [(pod, api) for pod, (api, _) in zip(started, addresses, strict=True)]


def test_a_session_survives_the_pod_that_it_began_in(tmp_path: Path, redis: str) -> None:
    pieces = [SPEECH[start : start + PIECE] for start in range(0, len(SPEECH), PIECE)]
    final = ""
    with pods(tmp_path, redis, 2) as both, httpx.Client(timeout=30) as client:
        (leaving, first), (_, second) = both
        for number, piece in enumerate([*pieces, SPEECH[:0]]):
            if number == len(pieces) // 2:
                assert leaving.end() == 0
            there = number % 2 == 0 and number < len(pieces) // 2
            headers = {"Content-Type": "audio/pcm", "Tfpod-Sequence": str(number)}
            answer = client.post(f"{first if there else second}/v1/stream", content=pcm(piece), headers=headers)
            assert answer.status_code == 200, answer.text
            final += answer.json()["final"]
    assert final == "你好" * 16
    assert answer.json()["ended"]
