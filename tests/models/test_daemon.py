"""service/models/daemon.py: what the work returns or raises arrives, and an unfinished one keeps nobody."""

import asyncio
import gc
import threading
import weakref

import pytest

from service.models.daemon import Failed, in_daemon
from tests.alone import alone
from tests.echo import until

pytestmark = pytest.mark.anyio


async def test_what_the_work_returns_arrives() -> None:
    assert await in_daemon(lambda: threading.current_thread().daemon) is True


@pytest.mark.parametrize(
    ("error", "text"), [(ValueError("no\n good"), "ValueError: no good"), (SystemExit(3), "SystemExit: 3")]
)
async def test_whatever_it_raises_arrives_as_a_line_of_text(error: BaseException, text: str) -> None:
    def work() -> None:
        raise error

    with pytest.raises(Failed) as caught:
        await in_daemon(work)
    assert str(caught.value) == text


async def test_a_failure_keeps_nothing_alive_that_the_work_had_made() -> None:
    class Half:
        """A model that is half loaded."""

    halves: list[weakref.ref[Half]] = []

    def work() -> None:
        half = Half()
        halves.append(weakref.ref(half))
        raise ValueError

    with pytest.raises(Failed) as caught:
        await in_daemon(work)
    gc.collect()
    assert caught.value
    assert halves[0]() is None


async def test_a_caller_who_is_cancelled_lets_the_work_end_in_peace(caplog: pytest.LogCaptureFixture) -> None:
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        assert go.wait(60)
        ended.set()

    task = asyncio.create_task(in_daemon(work))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await until(ended.is_set)
    assert caplog.records == []


def test_work_that_never_ends_does_not_keep_the_process_from_ending() -> None:
    alone("""
        import asyncio, threading
        from service.models.daemon import in_daemon

        async def main():
            begun = threading.Event()
            def work():
                begun.set()
                threading.Event().wait()
            task = asyncio.create_task(in_daemon(work))
            await asyncio.to_thread(begun.wait)
            task.cancel()

        asyncio.run(main())
    """)
