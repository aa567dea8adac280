"""One contender alone on the machine: how long it takes to start, what it holds, and what its end by SIGTERM costs."""

import asyncio
import time
from collections.abc import Callable, Sequence
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


async def ends(
    contenders: Sequence[Contender], count: int, done: Callable[[Contender, list[End | BaseException]], None]
) -> None:
    """End each contender so many times, and hand over what came of it: the failure of one that did not start."""
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(_BESIDE) as processes:

        async def all_of(contender: Contender) -> None:
            runs = [loop.run_in_executor(processes, _end, contender) for _ in range(count)]
            done(contender, await asyncio.gather(*runs, return_exceptions=True))

        await asyncio.gather(*map(all_of, contenders))


def _end(contender: Contender) -> End:
    async def once() -> End:
        async with contender.program(TINY) as program:
            return End(contender.name, dict(lost(await end(program))))

    return asyncio.run(once())
