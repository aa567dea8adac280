"""Whether a pod's memory stays what it is: clients of every kind for as long as you like, and new versions meanwhile.

Of the clients some ask well, in JSON and in binary; some ask for what cannot be done; some leave before the answer, or
in the middle of their question. Every few seconds a version takes the place of the one before. A line a minute says
what the pod holds; what may not happen, an answer that is not the one expected, is counted.

    python -m benchmarks.soak --minutes 60
"""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import uvloop

from benchmarks.client import Connection, LostError, Target, post
from benchmarks.programs import DIGIT, ROOT, Program, pod
from benchmarks.switches import switches

_PAUSE: Final = 0.02  # seconds, on average, between a client's requests
_CLIENTS: Final = 4  # of each kind
_SWITCH: Final = 5.0  # seconds from one version to the next


class Soak:
    """Clients of one pod, and what they found."""

    def __init__(self, program: Program) -> None:
        self.asked: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.version = 1
        self._random = random.Random(1)
        tensor, headers = _binary()
        infer = program.url.replace("/v1/", "/v2/").replace(":predict", "/infer")
        self._json, self._binary = post(program.url, program.body), post(infer, tensor, headers)
        #: By the status that each deserves.
        self._bad = {
            400: post(program.url, b'{"instances": [[[' + b"1," * 20_000 + b"]]]}"),
            404: post(program.url.replace("digits", "nobody"), program.body),
            405: post(program.url),
            413: post(program.url, b" " * (9 << 20)),
        }

    def clients(self) -> list[Callable[[], Awaitable[None]]]:
        """Return one endless client of each kind."""
        return [self._good(self._json), self._good(self._binary), self._refused, self._leaving]

    def _good(self, target: Target) -> Callable[[], Awaitable[None]]:
        async def ask() -> None:
            await self._ask(target, 200)

        return ask

    async def _refused(self) -> None:
        expected, target = self._random.choice(list(self._bad.items()))
        await self._ask(target, expected)

    async def _leaving(self) -> None:
        """Leave somewhere between the first byte of the question and the last of the answer."""
        connection = await Connection.to(self._json.host, self._json.port)
        request = self._json.request[: self._random.randrange(1, 2 * len(self._json.request))]
        try:
            async with asyncio.timeout(self._random.random() * _PAUSE):
                await connection.ask(request)
        except (LostError, TimeoutError):
            pass
        finally:
            connection.close()
        self.asked["left"] += 1

    async def _ask(self, target: Target, expected: int) -> None:
        connection = await Connection.to(target.host, target.port)
        try:
            for _ in range(self._random.randrange(1, 20)):
                if not connection.open:
                    break
                found = await connection.ask(target.request)
                self.asked[str(found)] += 1
                if found != expected:
                    self.wrong[f"{found} instead of {expected}"] += 1
                await asyncio.sleep(self._random.expovariate(1 / _PAUSE))
        except LostError as lost:
            self.wrong[f"{lost} instead of {expected}"] += 1
        finally:
            connection.close()


async def run(minutes: float) -> bool:
    """Soak a pod for so long, and print what it holds; return whether every answer was the expected one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "models/digits/1", folder / "1")
        async with pod({"TFPOD_MODELS": f"digits={folder}", "TFPOD_RELOAD_INTERVAL": "0.5"}) as program:
            soak = Soak(program)
            tasks = [asyncio.create_task(_for_ever(each)) for each in soak.clients() * _CLIENTS]
            tasks.append(asyncio.create_task(_switch(folder, program, soak)))
            print(f"{'minute':>6} {'requests':>9} {'wrong':>6} {'versions':>8} {'PSS':>9}")
            for minute in range(1, int(minutes) + 1):
                await asyncio.wait(tasks, timeout=60, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()  # none ends but by an error
                print(
                    f"{minute:>6} {soak.asked.total():>9} {soak.wrong.total():>6} {soak.version:>8}"
                    f" {program.tree.pss():>5.0f} MiB",
                    flush=True,
                )
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        print(f"asked {dict(soak.asked)}, wrong {dict(soak.wrong)}")
        return not soak.wrong


async def _for_ever(client: Callable[[], Awaitable[None]]) -> None:
    while True:
        await client()


async def _switch(folder: Path, program: Program, soak: Soak) -> None:
    async for switch in switches(folder, 1 << 30, program.url, program.process.pid):
        soak.version = switch.version
        await asyncio.sleep(_SWITCH)


def _binary() -> tuple[bytes, Sequence[str]]:
    """Return the digit as a binary tensor, and the headers that say so."""
    data = np.array(json.loads(DIGIT)["instances"], "<f4")
    tensor = {"name": "image", "shape": data.shape, "datatype": "FP32"}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": data.nbytes}}]}).encode()
    return head + data.tobytes(), [f"Inference-Header-Content-Length: {len(head)}"]


def main() -> None:
    """Print the table; end with 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="default: %(default)s")
    sys.exit(0 if uvloop.run(run(parser.parse_args().minutes)) else 1)


if __name__ == "__main__":
    main()
