"""Programs on this machine, for a benchmark: on free ports, answer when entered, end with all that they started."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Self

from benchmarks.client import Connection, LostError, post
from benchmarks.processes import MARK, Tree

ROOT = Path(__file__).parents[1]
PREDICT = "/v1/models/digits:predict"
DIGIT = (ROOT / "models/digits/sample.json").read_bytes()
_TAIL: Final = 600


class Program:
    """An asynchronous context around a command, entered when `url` answers a GET, or a POST of `body`."""

    process: asyncio.subprocess.Process
    tree: Tree

    def __init__(
        self,
        command: Sequence[str],
        settings: Mapping[str, str],
        url: str,
        body: bytes = b"",
        *,
        log: Path | None = None,
        patience: float = 120,
    ) -> None:
        self.url = url
        self.body = body
        self._command = command
        self._mark = uuid.uuid4().hex
        self._environment = clean({**settings, MARK: self._mark})
        self._log = log
        self._patience = patience

    async def __aenter__(self) -> Self:
        """Start, and return at the first answer; raise RuntimeError where none comes."""
        with self._output() as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        self.tree = Tree(self.process.pid, self._mark)
        try:
            async with asyncio.timeout(self._patience):
                await self._answered()
        except TimeoutError as error:
            await self.__aexit__()
            raise RuntimeError(f"no answer within {self._patience} s: {self._said()}") from error
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what still runs."""
        self.tree.send(signal.SIGKILL)
        await self.process.wait()

    def _output(self) -> BinaryIO:
        return (self._log or Path(os.devnull)).open("wb")

    async def _answered(self) -> None:
        while not await _answers(self.url, self.body):
            if self.process.returncode is not None:
                raise RuntimeError(f"ended with {self.process.returncode} before it answered: {self._said()}")
            await asyncio.sleep(0.01)

    def _said(self) -> str:
        """Return the end of what the program wrote."""
        written = self._log.read_text(errors="replace") if self._log else " ".join(self._command)
        return written[-_TAIL:].strip()


def pod(
    settings: Mapping[str, str] | None = None,
    model: str = "digits",
    body: bytes = DIGIT,
    *,
    python: str = sys.executable,
) -> Program:
    """Return a pod with the digits model, or what `settings` say; it answers when `model` predicts for `body`."""
    port, admin = free_port(), free_port()
    own = {
        "TFPOD_HOST": "127.0.0.1",
        "TFPOD_PORT": str(port),
        "TFPOD_ADMIN_PORT": str(admin),
        "TFPOD_MODELS": "digits=models/digits",
    }
    url = f"http://127.0.0.1:{port}/v1/models/{model}:predict"
    return Program([python, "-m", "service"], {**own, **(settings or {})}, url, body)


def adapter(folder: Path, *, python: str = sys.executable) -> Program:
    """Return an adapter with a certificate of its own in `folder`, whose API server is away; it answers /livez."""
    key, certificate = folder / "tls.key", folder / "ca.crt"
    options = ["-newkey", "rsa:2048", "-noenc", "-subj", "/CN=adapter", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *options], check=True, capture_output=True)
    (folder / "token").write_text("none")
    health = free_port()
    settings = {
        "TFPOD_ADAPTER_PORT": str(free_port()),
        "TFPOD_ADAPTER_HEALTH_PORT": str(health),
        "TFPOD_ADAPTER_CERT_FILE": str(certificate),
        "TFPOD_ADAPTER_KEY_FILE": str(key),
        "TFPOD_ADAPTER_SERVICE_ACCOUNT": str(folder),
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(free_port()),
    }
    return Program([python, "-m", "service.adapter"], settings, f"http://127.0.0.1:{health}/livez")


async def _answers(url: str, body: bytes) -> bool:
    target = post(url, body)
    try:
        connection = await Connection.to(target.host, target.port)
    except OSError:
        return False
    try:
        async with asyncio.timeout(30):
            return await connection.ask(target.request) == 200
    except (LostError, TimeoutError):
        return False
    finally:
        connection.close()


def clean(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this environment with some settings, in which Python writes the compiled files that an image has."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | dict(settings)


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
