"""Counts what new versions of a model cost the clients of one pod, nothing, and what they leave in its memory.

A pod serves the digits model out of a folder in which one version after the other appears, each renamed into place, and
the last but one disappears. Requests come at a constant rate on connections that are kept alive; each that is not
answered with 2xx counts. Memory is RSS, after the old version has been unloaded.

    python -m benchmarks.switches --switches 100
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.client import Connection, post
from benchmarks.load import Report, Step, offer
from benchmarks.processes import memory
from benchmarks.programs import ROOT, pod

_LOOK = 0.1  # seconds between the pod's looks into the folder; the default, 1, would only take longer


class Switch(NamedTuple):
    """A version that is served now: the seconds that it took from its appearance on, and the pod's memory in MiB."""

    version: int
    seconds: float
    rss: float
    pss: float


async def switches(folder: Path, count: int, url: str, process: int) -> AsyncIterator[Switch]:
    """Have versions 2, 3, … appear in `folder`, each once the one before is served."""
    clock = asyncio.get_running_loop().time
    for version in range(2, count + 2):
        await asyncio.to_thread(shutil.copytree, folder / str(version - 1), folder / "next")
        (folder / "next").rename(folder / str(version))
        shutil.rmtree(folder / str(version - 2), ignore_errors=True)
        begin = clock()
        await _served(url.replace(":predict", f"/versions/{version}/metadata"))
        seconds = clock() - begin
        await asyncio.sleep(3 * _LOOK)  # the memory of the old one is given back at the next look
        yield Switch(version, seconds, *memory(process))


async def _served(url: str) -> None:
    """Return once a GET is answered with 200; raise TimeoutError if that takes a minute."""
    target = post(url)
    connection = await Connection.to(target.host, target.port)
    try:
        async with asyncio.timeout(60):
            while True:
                if await connection.ask(target.request) == 200:
                    return
                await asyncio.sleep(0.01)
    finally:
        connection.close()


async def run(count: int, rate: float, every: int) -> Report:
    """Start a pod and load, have the versions switched, print a line for every so many of them; return the report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "models/digits/1", folder / "1")
        settings = {"TFPOD_MODELS": f"digits={folder}", "TFPOD_RELOAD_INTERVAL": str(_LOOK)}
        async with pod(settings) as program:
            stop = asyncio.Event()
            load = asyncio.create_task(
                offer(post(program.url, program.body), [Step(rate, 3600)], connections=16, stop=stop)
            )
            print(f"{'version':>8} {'served after':>13} {'RSS':>9} {'PSS':>9}")
            async for switch in switches(folder, count, program.url, program.process.pid):
                if switch.version % every == 2 % every or switch.version == count + 1:
                    print(
                        f"{switch.version:>8} {switch.seconds:>11.2f} s {switch.rss:>5.0f} MiB {switch.pss:>5.0f} MiB",
                        flush=True,
                    )
            stop.set()
            return await load


def main() -> None:
    """Print the table and the report; end with 1 where a request failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--switches", type=int, default=100)
    parser.add_argument("--rate", type=float, default=100, help="requests a second (default: %(default)s)")
    parser.add_argument("--every", type=int, default=10, help="versions for a line (default: %(default)s)")
    given = parser.parse_args()
    report = asyncio.run(run(given.switches, given.rate, given.every))
    print(report.summary())
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
