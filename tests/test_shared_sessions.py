"""Pods of the program with one Redis: a session goes on in another when its own ends or is killed; nothing is lost."""

import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from service.speech.audio import Samples
from tests.program import Program, program, until_ready
from tests.redis_server import redis_server
from tests.speech.spoken import HELLO, SILENCE, pcm, said, save

SPEECH = said(*(HELLO * 2 + SILENCE * 9) * 8)
TEXT = "你好" * 16
PIECES = [SPEECH[start : start + 11_200] for start in range(0, len(SPEECH), 11_200)]
NOTHING = SPEECH[:0]
HALF = len(PIECES) // 2


@contextlib.contextmanager
def pods(folder: Path, store: str, count: int) -> Iterator[list[tuple[Program, str]]]:
    """Run so many pods that share the Redis; yield each with its address."""
    save(folder / "model")
    settings: dict[str, Any] = {"TFPOD_MODELS": f"m={folder}/model", "TFPOD_SESSIONS_URL": store}
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(program("--drain-delay=0", **settings)) for _ in range(count)]
        addresses = [pod.urls() for pod in started]
        for _, admin in addresses:
            until_ready(admin)
        yield [(pod, api) for pod, (api, _) in zip(started, addresses, strict=True)]


class Session:
    """A client that speaks in pieces, and what it was answered for good."""

    def __init__(self) -> None:
        self.http = httpx.Client(timeout=30)
        self.text = ""

    def send(self, pod: str, number: int, piece: Samples) -> httpx.Response:
        """Send a piece and return what comes."""
        return self.http.post(f"{pod}/v1/stream", content=pcm(piece), headers=headers(number))

    def say(self, pod: str, number: int, piece: Samples) -> httpx.Response:
        """Send a piece that is to be heard."""
        answer = self.send(pod, number, piece)
        assert answer.status_code == 200, answer.text
        self.text += answer.json()["final"]
        return answer


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session()
    with made.http:
        yield made


def headers(number: int) -> dict[str, str]:
    return {"Content-Type": "audio/pcm", "Tfpod-Sequence": str(number)}


def test_a_session_survives_the_pod_that_it_began_in(tmp_path: Path, session: Session) -> None:
    with redis_server(tmp_path / "redis") as store, pods(tmp_path, store, 2) as both:
        (leaving, first), (_, second) = both
        for number, piece in enumerate([*PIECES, NOTHING]):
            if number == HALF:
                assert leaving.end() == 0
            there = number % 2 == 0 and number < HALF
            answer = session.say(first if there else second, number, piece)
    assert session.text == TEXT
    assert answer.json()["ended"]


def test_a_pod_that_is_killed_takes_no_piece_with_it(tmp_path: Path, session: Session) -> None:
    """What it had answered is kept, also if the answer got lost; what it was just being sent can be sent again."""
    with redis_server(tmp_path / "redis") as store, pods(tmp_path, store, 2) as both:
        (killed, first), (_, second) = both
        for number in range(HALF):
            answered = session.say(first, number, PIECES[number])
        with in_flight(first, HALF, PIECES[HALF], session.http.cookies["tfpod_session"]) as connection:
            killed.end(signal.SIGKILL)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b"", "it ended without an answer"
        assert session.send(second, HALF - 1, PIECES[HALF - 1]).content == answered.content
        for number, piece in enumerate([*PIECES[HALF:], NOTHING], HALF):
            session.say(second, number, piece)
    assert session.text == TEXT


@contextlib.contextmanager
def in_flight(pod: str, number: int, piece: Samples, cookie: str) -> Iterator[socket.socket]:
    """Send a piece but for its last byte, to a pod that reads: it has said that it waits for the body."""
    fields = headers(number) | {"Cookie": f"tfpod_session={cookie}", "Expect": "100-continue", "Host": "pod"}
    fields["Content-Length"] = str(len(pcm(piece)))
    head = "\r\n".join(["POST /v1/stream HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""])
    with socket.create_connection((urlsplit(pod).hostname, urlsplit(pod).port), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        connection.sendall(pcm(piece)[:-1])
        yield connection


def test_a_store_that_is_full_loses_nothing_and_one_that_ended_can_come_back(tmp_path: Path, session: Session) -> None:
    with contextlib.ExitStack() as stack:
        with redis_server(tmp_path / "redis", megabytes=8) as address:
            ((_, pod),) = stack.enter_context(pods(tmp_path, address, 1))
            session.say(pod, 0, PIECES[0])
            with filled(address):
                refused = session.send(pod, 1, PIECES[1])
                assert (refused.status_code, refused.json()["error"]) == (429, "the store of sessions is full")
                assert refused.headers["Retry-After"]
            for number, piece in enumerate([*PIECES[1:], NOTHING], 1):
                session.say(pod, number, piece)
            assert session.text == TEXT
        down = session.send(pod, 0, PIECES[0])
        assert (down.status_code, "store of sessions does not answer" in down.json()["error"]) == (503, True)
        assert down.headers["Retry-After"]
        with redis_server(tmp_path / "redis"):
            forgotten = session.send(pod, 1, PIECES[1])
            assert (forgotten.status_code, "no such session" in forgotten.json()["error"]) == (404, True)
            session.http.cookies.clear()
            assert session.say(pod, 0, PIECES[0]).headers["set-cookie"]


@contextlib.contextmanager
def filled(address: str) -> Iterator[None]:
    """Leave no room in a Redis."""
    names = []
    with redis.from_url(address) as client:
        with contextlib.suppress(redis.exceptions.OutOfMemoryError):
            for number in range(1 << 16):
                client.set(f"filler:{number}", b"x" * 4096)
                names.append(f"filler:{number}")
        assert names
        yield
        client.delete(*names)
