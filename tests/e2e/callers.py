"""Callers of the digits' model by gRPC, Triton's own client without retries: they call until SIGTERM, then tell.

Prints a line when each has called once, and at the end a report: {"answered": N, "failures": [TEXT, …]}.
"""

import asyncio
import contextlib
import json
import signal
import sys
from dataclasses import asdict, dataclass, field

import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tests.e2e.release import TOKEN

#: Each with a connection of its own, and seconds between the calls of each.
_CALLERS = 8
_PAUSE = 1.0
_OPTIONS = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]


@dataclass
class Report:
    """What the callers were told."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)


async def main(address: str) -> None:
    """Call at HOST:PORT until SIGTERM."""
    report, end, first = Report(), asyncio.Event(), asyncio.Barrier(_CALLERS + 1)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    async with asyncio.TaskGroup() as callers:
        for _ in range(_CALLERS):
            callers.create_task(_call(address, report, end, first))
        await first.wait()
        _tell("calling")
    _tell(json.dumps(asdict(report)))


async def _call(address: str, report: Report, end: asyncio.Event, first: asyncio.Barrier) -> None:
    async with InferenceServerClient(address, channel_args=_OPTIONS) as client:
        await _ask(client, report)
        await first.wait()
        while not end.is_set():
            await _ask(client, report)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(end.wait(), _PAUSE)


async def _ask(client: InferenceServerClient, report: Report) -> None:
    image = InferInput("image", [1, 8, 8, 1], "FP32")
    image.set_data_from_numpy(np.zeros((1, 8, 8, 1), np.float32))
    try:
        answer = await client.infer("digits", [image], headers={"authorization": f"Bearer {TOKEN}"}, client_timeout=10)
    except InferenceServerException as error:
        report.failures.append(str(error))
    else:
        np.testing.assert_allclose(answer.as_numpy("probabilities").sum(), 1, 1e-3)
        report.answered += 1


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
