"""A session of speech is no pod's own: two pods share it by a Redis, and it goes on when one of them is deleted."""

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e import store
from tests.e2e.images import Images
from tests.e2e.release import TOKEN, Release
from tests.e2e.target import Target, eventually
from tests.speech import voice

pytestmark = pytest.mark.cluster

SPEECH = voice.sentences(10)
#: Bytes of a piece: 0.7 s, so that pieces begin and end anywhere in words.
PIECE = 7 * voice.RATE // 10 * 2


@pytest.fixture(scope="module")
def release(target: Target, images: Images) -> Iterator[Release]:
    image = store.provide(target)
    values = {
        "model.name": "speech",
        "sessions.enabled": True,
        "sessions.redis.url": store.URL,
        "autoscaling.enabled": False,
        "replicas": 2,
    }
    with Release(target, images, "speech", values) as installed:
        store.start(installed, image)
        yield installed


class Session:
    """A client with a cookie, which speaks in pieces."""

    def __init__(self, release: Release, folder: Path) -> None:
        folder.mkdir()
        self._release, self._folder = release, folder
        self._number = 0
        self.text = ""

    def say(self, piece: bytes, pod: str) -> None:
        """Send the next piece to a pod's address; it is answered the first time."""
        (self._folder / "piece").write_bytes(piece)
        headers = ("Content-Type: audio/pcm", f"Tfpod-Sequence: {self._number}", f"Authorization: Bearer {TOKEN}")
        headed = [option for header in headers for option in ("--header", header)]
        cookies = str(self._folder / "cookies")
        answer = self._release.target.run(
            "curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "20",
            "--cookie", cookies, "--cookie-jar", cookies, *headed,
            "--data-binary", f"@{self._folder}/piece", f"{pod}/v1/stream",
        )  # fmt: skip
        self.text += json.loads(answer)["final"]
        self._number += 1

    def speak(self, pieces: Sequence[bytes], *pods: str) -> None:
        """Send pieces to the pods in turn."""
        for number, piece in enumerate(pieces):
            self.say(piece, pods[number % len(pods)])


def test_a_session_in_turn_by_two_pods_outlives_one_of_them(release: Release, tmp_path: Path) -> None:
    pieces = [SPEECH[start : start + PIECE] for start in range(0, len(SPEECH), PIECE)]
    half = len(pieces) // 2
    alone, shared = Session(release, tmp_path / "alone"), Session(release, tmp_path / "shared")
    leaving, staying = release.pods()
    with forwarded(release, staying) as second:
        alone.speak([*pieces, b""], second)
        with forwarded(release, leaving) as first:
            shared.speak(pieces[:half], first, second)
        release.kubectl("delete", "pod", leaving, "--timeout=60s")
        eventually(lambda: list(release.pods().values()) == [True, True], 120, "no pod comes for the deleted one")
        (coming,) = set(release.pods()) - {staying}
        with forwarded(release, coming) as third:
            shared.speak([*pieces[half:], b""], third, second)
    assert len(alone.text) >= 20
    assert shared.text == alone.text


@contextlib.contextmanager
def forwarded(release: Release, pod: str) -> Iterator[str]:
    """Yield the address at which a pod's API is reached."""
    command = ("kubectl", "--namespace", release.namespace, "port-forward", f"pod/{pod}", ":8000")
    with release.target.running(*command) as forward:
        assert forward.stdout is not None
        address = re.search(r"127\.0\.0\.1:\d+", forward.stdout.readline())
        assert address is not None
        yield f"http://{address[0]}"
