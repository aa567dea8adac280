"""The cluster that the end-to-end tests run on, and how to speak to it: kubectl, helm, its API, programs near it."""

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

from tests.cluster import host, lifecycle


class CommandError(AssertionError):
    """A command failed; the message is what it said."""


class Target:
    """A cluster: the one that KUBECONFIG names, or the test cluster of this machine.

    `prefix` is put before every command; for the test cluster it enters the cluster's network. `ingress` is the
    address at which the cluster's ingress is reached, empty where none is known.
    """

    def __init__(self, prefix: list[str], environment: dict[str, str], ingress: str) -> None:
        self.ingress = ingress
        self._prefix = prefix
        self._environment = environment
        self._api = Path()

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        """Connect to the given cluster, or start the test cluster and, unless TFPOD_E2E_KEEP is set, stop it after."""
        if "KUBECONFIG" in os.environ:
            target = cls([], dict(os.environ), os.environ.get("TFPOD_E2E_INGRESS", ""))
            with target._proxy():
                yield target
            return
        lifecycle.up()
        try:
            target = cls(host.inside(), host.environment(), f"http://{host.NODE_ADDRESS}")
            with target._proxy():
                yield target
        finally:
            if not os.environ.get("TFPOD_E2E_KEEP"):
                lifecycle.down()

    @property
    def own(self) -> bool:
        """Whether it is the test cluster of this machine."""
        return bool(self._prefix)

    def run(self, *command: str, stdin: str | None = None) -> str:
        """Run a command that reaches the cluster and return its output; raise CommandError where it fails."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [*self._prefix, *command],
            **self._surroundings, input=stdin, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CommandError(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done.stdout

    @contextmanager
    def running(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command beside the block, and end it with the block."""
        with subprocess.Popen([*self._prefix, *command], **self._surroundings, stdout=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.terminate()

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl."""
        return self.run("kubectl", *arguments, stdin=stdin)

    def helm(self, *arguments: str, stdin: str | None = None) -> str:
        """Run helm."""
        return self.run("helm", *arguments, stdin=stdin)

    def get(self, path: str) -> Any:
        """Read a path of the API server; None where there is nothing."""
        connection = _UnixConnection(self._api)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status != HTTPStatus.OK:
            raise CommandError(f"GET {path}: {answer.status} {body[:2000]!r}")
        return json.loads(body)

    @property
    def _surroundings(self) -> dict[str, Any]:
        return {"env": self._environment, "cwd": host.REPOSITORY, "text": True}

    @contextmanager
    def _proxy(self) -> Iterator[None]:
        """Reach the API server through `kubectl proxy`: a read takes a hundredth of what a kubectl takes."""
        with tempfile.TemporaryDirectory() as folder:
            self._api = Path(folder) / "api"
            with self.running("kubectl", "proxy", f"--unix-socket={self._api}"):
                eventually(self._api.exists, 10, "kubectl proxy did not start")
                yield


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def eventually(condition: Callable[[], object], seconds: float, complaint: str) -> None:
    """Return as soon as `condition()` is true; raise AssertionError with `complaint` after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{complaint} (waited {seconds:.0f} s)")
        time.sleep(0.2)
