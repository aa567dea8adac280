"""Work in a thread that does not keep the process from ending, as an executor's would."""

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import TypeVar

from service import cpus
from service.batching.worker import one_line

T = TypeVar("T")


class Failed(Exception):
    """The work raised something; this is its text, in one line.

    The exception itself would keep alive all that it came through, such as half a model.
    """


async def in_daemon(work: Callable[[], T]) -> T:
    """Return what `work` returns, computed in a thread of its own. Raises Failed for whatever it raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(settle: Callable[[], None]) -> None:
        if not done.done():  # it is, if the caller was cancelled
            settle()

    def run() -> None:
        cpus.give_way()
        settle: Callable[[], None]
        try:
            settle = functools.partial(done.set_result, work())
        except BaseException as error:  # noqa: BLE001 - somebody waits for word of it
            settle = functools.partial(done.set_exception, Failed(one_line(error)))
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(finish, settle)

    threading.Thread(target=run, name="load", daemon=True).start()
    return await done
