"""Runs the program itself, as users start it, in a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: The runtimes' own lines among the log's, which nothing switches off: LiteRT's, and TensorFlow's where oneDNN helps.
FOREIGN = ("INFO: Created TensorFlow Lite XNNPACK delegate", "WARNING: All log messages before absl", "I0000 00:00:")
#: The digits' model by the runtime that computes it where both are installed.
DIGITS = {"tensorflow": "models/digits", "litert": "models/digits/1/model.tflite"}


class Program:
    """`python -m service` with settings, on free ports."""

    def __init__(self, *options: str, descriptors: int = 0, **settings: Any) -> None:
        ports = {"TFPOD_PORT": "0", "TFPOD_ADMIN_PORT": "0", "TFPOD_HOST": "127.0.0.1"}
        limit = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"] if descriptors else []
        plain = {key: value for key, value in os.environ.items() if not key.startswith("TFPOD_")}
        self.process = subprocess.Popen(
            [*limit, sys.executable, "-m", "service", *options],
            cwd=ROOT,
            env=plain | ports | settings,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []

    def line(self, message: str) -> dict[str, Any]:
        """Return the log line with `message`; read on until it comes."""
        assert self.process.stderr
        while True:
            text = self.process.stderr.readline()
            assert text, f"ended without {message!r}: {self.lines}"
            if text.startswith(FOREIGN):
                continue
            self.lines.append(json.loads(text))
            if self.lines[-1]["message"] == message:
                return self.lines[-1]

    def urls(self) -> tuple[str, str]:
        """Return the addresses of the API and of the admin port."""
        first, second = self.line("listening"), self.line("listening")
        return f"http://127.0.0.1:{first['port']}", f"http://127.0.0.1:{second['port']}"

    def end(self, sign: int = signal.SIGTERM) -> int:
        """Send the signal; return the exit status."""
        self.process.send_signal(sign)
        return self.process.wait(60)


@contextlib.contextmanager
def program(*options: str, descriptors: int = 0, **settings: Any) -> Iterator[Program]:
    started = Program(*options, descriptors=descriptors, **settings)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def get(url: str, body: bytes | None = None) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, body, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def until_ready(admin: str) -> None:
    while get(f"{admin}/readyz")[0] != 200:
        time.sleep(0.05)
