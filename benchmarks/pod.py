"""A pod on this machine, for a benchmark: `python -m service` on free ports, ready when entered, ended when left."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from typing import Self

from benchmarks.client import Connection, LostError, post

PREDICT = "/v1/models/digits:predict"
DIGIT = json.dumps({"instances": [[[[0.5]] * 8] * 8]}).encode()


class Pod:
    """An asynchronous context: a ready pod with the bundled digits model and the given settings besides."""

    process: asyncio.subprocess.Process

    def __init__(self, settings: Mapping[str, str]) -> None:
        port, admin = _free_ports()
        self.url = f"http://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin}"
        own = {"TFPOD_HOST": "127.0.0.1", "TFPOD_PORT": str(port), "TFPOD_ADMIN_PORT": str(admin)}
        self._environment = {**os.environ, "TFPOD_MODELS": "digits=models/digits", **own, **settings}

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", env=self._environment, stderr=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        while not await answers(f"{self.url}{PREDICT}", DIGIT):
            if self.process.returncode is not None:
                raise RuntimeError(f"the pod ended with {self.process.returncode} before it was ready")
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


async def answers(url: str, body: bytes = b"") -> bool:
    """Tell whether a request is answered with 200."""
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


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
