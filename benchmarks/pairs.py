"""Two ways of doing the same, one right after the other: the bare loop and the pod, JSON and binary tensors."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final, NamedTuple

from benchmarks.client import post
from benchmarks.contest import Contest
from benchmarks.loops import Loop
from benchmarks.peers.table import TFPOD
from benchmarks.results import Pair, Results, middle
from benchmarks.workloads import CONVOLUTIONS, PICTURE, TINY

Say = Callable[[str], None]
COMPUTE: Final = "rows a second of a model that keeps the processors busy, pod to bare loop"
BINARY: Final = "rows a second of 224 x 224 x 3 numbers, binary tensors to JSON"
_TRIES: Final = 3
#: Seconds; the longer where a batch takes a good part of one, and the end cuts off what is under way.
_WINDOW, _LONG_WINDOW = 3, 12
_CLIENTS: Final = 8
_WAYS: Final = ("signature", "frozen", "session")
#: So many of the fastest ways are measured in each round.
_CLOSE: Final = 2


class _Way(NamedTuple):
    """One of several ways to call a model in a loop."""

    loop: Loop
    how: str
    batch: int


async def bare(results: Results, say: Say) -> None:
    """Measure the bare calls of the tiny model by both runtimes."""
    for runtime in ("tensorflow", "litert"):
        async with Loop(runtime, TINY, TINY.threads) as loop:
            one = [await loop.measure(1, 0.5) for _ in range(_TRIES)]
            many = [await loop.measure(64, 0.5) for _ in range(_TRIES)]
        results.calls[runtime] = middle([speed.microseconds for speed in one]) or 0.0
        results.rows[runtime] = middle([speed.rows for speed in many]) or 0.0
        say(f"bare {runtime}: {results.calls[runtime]:.0f} us a call, {results.rows[runtime]:,.0f} rows/s by 64")


async def compute(results: Results, rounds: int, say: Say) -> None:
    """Compare the pod with the best of all bare loops on a model that is all computing."""
    async with AsyncExitStack() as stack:
        loops = [await stack.enter_async_context(Loop("tensorflow", CONVOLUTIONS, count)) for count in (0, 1)]
        ways = [_Way(loop, how, batch) for loop in loops for how in _WAYS for batch in (1, 2, 4)]
        speeds = {way: (await way.loop.measure(way.batch, 1, way.how)).rows for way in ways}
        fastest = sorted(ways, key=speeds.__getitem__)[-_CLOSE:]
        contest = await stack.enter_async_context(Contest.of([TFPOD], CONVOLUTIONS, results.errors, say))
        await contest.window(TFPOD.name, -1, _CLIENTS, _WINDOW)
        for number in range(rounds):
            window = await contest.window(TFPOD.name, number, _CLIENTS, _LONG_WINDOW)
            limit = max([(await way.loop.measure(way.batch, _WINDOW, way.how)).rows for way in fastest])
            results.pairs.append(Pair(COMPUTE, window.rate, limit))
            say(f"model that is all computing: pod {window.rate:.1f}, bare loop {limit:.1f} rows/s")


async def binary(results: Results, rounds: int, say: Say) -> None:
    """Compare binary tensors with JSON, both by the Open Inference Protocol, for a large input."""
    body, headers = PICTURE.binary()
    async with Contest.of([TFPOD], PICTURE, results.errors, say) as contest:
        async with contest.awake(TFPOD.name) as program:
            url = program.url.replace("/v1/", "/v2/").replace(":predict", "/infer")
        targets = [post(url, body, headers), post(url, PICTURE.tensor())]
        for number in range(rounds):
            first, second = [await contest.window(TFPOD.name, number, _CLIENTS, _WINDOW, at) for at in targets]
            results.pairs.append(Pair(BINARY, first.rate, second.rate))
            say(f"224 x 224 x 3: binary {first.rate:.0f}, JSON {second.rate:.0f} rows/s")
