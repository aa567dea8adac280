"""Work in a thread that does not keep the process from ending, as an executor's would."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
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
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # a caller who is cancelled lets the work end in peace

    def run() -> None:
        cpus.give_way()
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - somebody waits for word of it
            done.set_exception(Failed(one_line(error)))

    threading.Thread(target=run, name="load", daemon=True).start()
    return await asyncio.wrap_future(done)
