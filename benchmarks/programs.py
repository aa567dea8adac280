"""The project's two programs on this machine, for a benchmark: on free ports, answer when entered, end when left."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from benchmarks.client import Connection, LostError, post

ROOT = Path(__file__).parents[1]
PREDICT = "/v1/models/digits:predict"
DIGIT = (ROOT / "models/digits/sample.json").read_bytes()


class Program:
    """An asynchronous context around `python -m MODULE`, entered when `url` answers a GET, or a POST of `body`."""

    process: asyncio.subprocess.Process
    #: The interpreter, and with it the environment.
    python: str = sys.executable

    def __init__(self, module: str, settings: Mapping[str, str], url: str, body: bytes = b"") -> None:
        self.url = url
        self.body = body
        self._module = module
        self._environment = {**os.environ, **settings}

    async def __aenter__(self) -> Self:
        """Start, and return at the first answer; raise RuntimeError where the program ends before."""
        self.process = await asyncio.create_subprocess_exec(
            self.python, "-m", self._module, cwd=ROOT, env=self._environment,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        while not await _answers(self.url, self.body):
            if self.process.returncode is not None:
                raise RuntimeError(f"python -m {self._module} ended with {self.process.returncode} before it answered")
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the process if it still runs."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


def pod(settings: Mapping[str, str] | None = None, model: str = "digits", body: bytes = DIGIT) -> Program:
    """Return a pod with the digits model, or what `settings` say; it answers when `model` predicts for `body`."""
    port, admin = _free_port(), _free_port()
    own = {
        "TFPOD_HOST": "127.0.0.1",
        "TFPOD_PORT": str(port),
        "TFPOD_ADMIN_PORT": str(admin),
        "TFPOD_MODELS": "digits=models/digits",
    }
    return Program("service", {**own, **(settings or {})}, f"http://127.0.0.1:{port}/v1/models/{model}:predict", body)


def naive(folder: Path, body: bytes) -> Program:
    """Return the naive pod with the dense model in `folder`."""
    port = _free_port()
    settings = {"NAIVE_FOLDER": str(folder), "NAIVE_PORT": str(port)}
    return Program("benchmarks.naive", settings, f"http://127.0.0.1:{port}/v1/models/dense:predict", body)


def adapter(folder: Path) -> Program:
    """Return an adapter with a certificate of its own in `folder`, whose API server is away; it answers /livez."""
    key, certificate = folder / "tls.key", folder / "ca.crt"
    options = ["-newkey", "rsa:2048", "-noenc", "-subj", "/CN=adapter", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *options], check=True, capture_output=True)
    (folder / "token").write_text("none")
    health = _free_port()
    settings = {
        "TFPOD_ADAPTER_PORT": str(_free_port()),
        "TFPOD_ADAPTER_HEALTH_PORT": str(health),
        "TFPOD_ADAPTER_CERT_FILE": str(certificate),
        "TFPOD_ADAPTER_KEY_FILE": str(key),
        "TFPOD_ADAPTER_SERVICE_ACCOUNT": str(folder),
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(_free_port()),
    }
    return Program("service.adapter", settings, f"http://127.0.0.1:{health}/livez")


def memory(process: int) -> tuple[float, float]:
    """Return a process's RSS and PSS in MiB; the latter counts shared pages by share."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    kibibytes = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    return kibibytes["Rss"] / 1024, kibibytes["Pss"] / 1024


async def _answers(url: str, body: bytes) -> bool:
    target = post(url, body)
    try:
        connection = await Connection.to(target.host, target.port)
    except OSError:
        return False
    try:
        return await connection.ask(target.request) == 200
    except LostError:
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
