"""One contender alone on the machine: how long it takes to start, what it holds, and what its end by SIGTERM costs."""

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from benchmarks import wrk
from benchmarks.peers.table import Contender, target
from benchmarks.results import End, Start
from benchmarks.sigterm import end, lost
from benchmarks.workloads import TINY

_MEBIBYTE: Final = (1 << 20) / 1e6
#: Ends are counts, no times: several servers may run beside each other.
_BESIDE: Final = 3


async def start_and_end(contender: Contender) -> tuple[Start, End]:
    """Start a contender, load it, look at its memory, and end it under load; raise RuntimeError if it fails before."""
    program = contender.program(TINY)
    begun = time.monotonic()
    async with program:
        seconds = time.monotonic() - begun
        await wrk.load(target(program), 256, 1)
        pss = program.tree.pss() * _MEBIBYTE
        return Start(contender.name, seconds, pss), End(contender.name, dict(lost(await end(program))))


async def ends(contender: Contender, count: int) -> list[End]:
    """End a contender so many times."""
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(_BESIDE) as processes:
        return await asyncio.gather(*(loop.run_in_executor(processes, _end, contender) for _ in range(count)))


def _end(contender: Contender) -> End:
    async def once() -> End:
        async with contender.program(TINY) as program:
            return End(contender.name, dict(lost(await end(program))))

    return asyncio.run(once())
