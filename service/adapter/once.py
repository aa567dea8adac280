"""A short memory: what was found for a key is used again for a while, and looked for once at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Once(Generic[K, V]):
    """Keeps at most `limit` results, each for `ttl` seconds; failures are not kept."""

    def __init__(self, ttl: float, limit: int) -> None:
        self._ttl = ttl
        self._limit = limit
        self._tasks: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, make: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return what `make` gave for `key`; whoever asks while it is under way waits for the same result."""
        task = self._tasks.get(key)
        if task is None:
            while len(self._tasks) >= self._limit:
                del self._tasks[next(iter(self._tasks))]
            task = self._tasks[key] = asyncio.create_task(make())
            task.add_done_callback(partial(self._made, key))
        return await asyncio.shield(task)

    def _made(self, key: K, task: asyncio.Task[V]) -> None:
        if task.cancelled() or task.exception():
            self._forget(key, task)
        else:
            asyncio.get_running_loop().call_later(self._ttl, self._forget, key, task)

    def _forget(self, key: K, task: asyncio.Task[V]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
