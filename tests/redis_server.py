"""Runs a real Redis for tests, at a socket in a folder."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def redis_server(path: Path, megabytes: int = 64) -> Iterator[str]:
    """Run one of so many megabytes, and give its address; skip the test where there is no Redis."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server (Debian: redis-server)")
    options = {"port": "0", "unixsocket": str(path), "save": "", "maxmemory": f"{megabytes}mb", "dir": str(path.parent)}
    command = [program, *(word for name, value in options.items() for word in (f"--{name}", value))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("eady to accept connections" in line for line in process.stdout)
        try:
            yield f"unix://{path}"
        finally:
            process.kill()
            process.stdout.read()
