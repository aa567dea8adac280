"""service/door/deadlines.py: whose time is over is stopped, nobody else, and a cancellation by others stays one."""

import asyncio

import pytest

from service.door.deadlines import Deadline, Deadlines

pytestmark = pytest.mark.anyio


def soon() -> float:
    return asyncio.get_running_loop().time() + 0.02


async def test_what_is_not_done_in_time_raises_timeout_error() -> None:
    with pytest.raises(TimeoutError), Deadline(Deadlines(), soon()):
        await asyncio.Event().wait()
    await asyncio.sleep(0)  # the task is as good as new
    current = asyncio.current_task()
    assert current
    assert not current.cancelling()


async def test_a_time_that_is_over_already_stops_at_once() -> None:
    with pytest.raises(TimeoutError), Deadline(Deadlines(), soon() - 1):
        await asyncio.Event().wait()


async def test_each_has_its_own_time() -> None:
    deadlines, ended = Deadlines(), []

    async def wait(name: str, at: float) -> None:
        try:
            with Deadline(deadlines, at):
                await asyncio.Event().wait()
        except TimeoutError:
            ended.append(name)

    begun = soon()
    times = {"third": 0.1, "first": 0.02, "second": 0.06}
    await asyncio.gather(*(wait(name, begun + seconds) for name, seconds in times.items()))
    assert ended == ["first", "second", "third"]


async def test_what_is_done_in_time_is_left_alone() -> None:
    deadlines = Deadlines()
    with Deadline(deadlines, soon()):
        pass
    with pytest.raises(TimeoutError), Deadline(deadlines, soon() + 0.02):
        await asyncio.Event().wait()


async def test_a_cancellation_by_others_stays_one() -> None:
    deadlines, begun = Deadlines(), asyncio.Event()

    async def wait() -> None:
        with Deadline(deadlines, soon() + 60):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_by_others_too_is_cancelled() -> None:
    deadlines = Deadlines()

    async def wait() -> None:
        with Deadline(deadlines, soon()):
            try:
                await asyncio.Event().wait()
            finally:
                task.cancel()

    task = asyncio.create_task(wait())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), Deadline(Deadlines(), soon()):
        raise KeyError
