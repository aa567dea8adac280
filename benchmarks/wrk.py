"""A window of closed-loop load by wrk: so many connections, each of which asks one request after the other."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from benchmarks.client import Target

_SCRIPT: Final = Path(__file__).with_name("post.lua")
_PATIENCE: Final = 10  # seconds for one answer


class Figures(NamedTuple):
    """What came of one window."""

    rate: float  # answers with 2xx a second
    p50: float  # milliseconds
    p99: float
    failed: int  # all others: other statuses, connections that ended or took too long


async def load(target: Target, connections: int, seconds: int) -> Figures:
    """Load for some whole seconds, from one thread, and return what came of it; raise RuntimeError if wrk fails."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(target.request)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            "wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s", f"--timeout={_PATIENCE}s",
            "--script", str(_SCRIPT), f"http://{target.host}:{target.port}/", "--", file.name,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
    return parse(output.decode(errors="replace"))


def parse(output: str) -> Figures:
    """Return the figures out of what wrk and its script wrote; raise RuntimeError where there are none."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"wrk: {output.strip()[-300:]}")
    found: dict[str, Any] = msgspec.json.decode(lines[-1])
    good = found["answers"] - found["refused"]
    return Figures(good / found["seconds"], found["p50"], found["p99"], found["refused"] + found["failed"])


def missing() -> bool:
    """Tell whether wrk is not installed."""
    return shutil.which("wrk") is None
