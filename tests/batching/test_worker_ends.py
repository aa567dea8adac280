"""What is left of a batch when it is over, and of the thread when the loop or the process is."""

import asyncio
import contextlib
import gc
import logging
import threading
import time
import weakref
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from service.batching.batcher import Batcher
from service.batching.form import Batching
from service.errors import PodError
from service.metrics import Metrics
from service.types import Call, Tensors
from tests.alone import alone
from tests.puppet import Puppet, Stage, double, expected, stage

pytestmark = pytest.mark.anyio


async def test_after_the_answer_nothing_of_inputs_or_outputs_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the thread that waits for the next batch nor by a cycle that only the garbage collector would find."""
    monkeypatch.setattr(
        logging.getLogger("tfpod.worker"), "disabled", True
    )  # pytest keeps records, and their tracebacks
    kept: list[weakref.ref[Any]] = []

    def answer(inputs: Tensors) -> Tensors:
        outputs = expected("double", inputs)
        kept.extend(weakref.ref(array) for array in (inputs["x"], outputs["y"]))
        return outputs

    def fail(inputs: Tensors) -> Tensors:
        kept.append(weakref.ref(inputs["x"]))
        raise ValueError

    async with stage() as scene:
        gc.disable()
        try:
            for step in (answer, fail):
                callers = [scene.spawn(_ask(scene, double(number), 600.0, kept)) for number in (1, 2)]
                for _ in range(1 + len(callers)):
                    scene.puppet.go(step)
                await asyncio.gather(*callers)
                scene.tasks.clear()
                del callers
                assert await _all_gone(kept)
        finally:
            gc.enable()


async def test_who_waited_too_long_leaves_nothing_behind_although_the_model_hangs() -> None:
    kept: list[weakref.ref[Any]] = []
    async with stage() as scene:
        await scene.occupy()
        gc.disable()
        try:
            await _ask(scene, double(1), 0.01, kept)
            assert await _all_gone(kept)
        finally:
            gc.enable()


def test_a_loop_that_was_closed_meanwhile_ends_the_thread() -> None:
    before = set(threading.enumerate())
    puppets: list[Puppet] = []

    async def leave() -> None:
        puppets.append(Puppet())
        metrics = Metrics(CollectorRegistry(), []).model("m")
        batcher = Batcher(puppets[0], metrics, Batching(1, 1))
        call = asyncio.create_task(batcher.submit(double(1), time.monotonic() + 60))
        await puppets[0].begun()
        call.cancel()

    asyncio.run(leave())
    (thread,) = set(threading.enumerate()) - before
    puppets[0].go()
    thread.join(30)
    assert not thread.is_alive()


def test_a_model_that_hangs_does_not_keep_the_process_from_ending() -> None:
    program = """
        import asyncio, threading, time
        from prometheus_client import CollectorRegistry
        from service.batching.batcher import Batcher
        from service.batching.form import Batching
        from service.metrics import Metrics
        from tests.puppet import Puppet, double

        async def main():
            puppet = Puppet()
            batcher = Batcher(puppet, Metrics(CollectorRegistry(), []).model("m"), Batching(1, 1))
            call = asyncio.create_task(batcher.submit(double(1), time.monotonic() + 60))
            await puppet.begun()
            batcher.close()

        asyncio.run(main())
    """
    alone(program)


async def _ask(scene: Stage, call: Call, seconds: float, kept: "list[weakref.ref[Any]]") -> None:
    """Submit a call, whatever comes of it; `kept` tells whether its input is kept."""
    kept.append(weakref.ref(call.inputs["x"]))
    with contextlib.suppress(PodError):
        await scene.batcher.submit(call, asyncio.get_running_loop().time() + seconds)


async def _all_gone(references: "list[weakref.ref[Any]]") -> bool:
    """Tell whether the arrays are freed, once the thread has got to where it waits."""
    for _ in range(2000):
        if not any(reference() is not None for reference in references):
            return True
        await asyncio.sleep(0.001)
    return False
