"""Sessions are kept, capped and ended, in memory and in a real Redis alike."""

import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import redis

from service.errors import NotFound, NotReady, Overloaded
from service.sessions import Caps, MemorySessions, RedisSessions, Sessions, owner_of
from tests.clock import Clock
from tests.redis_server import redis_server

pytestmark = pytest.mark.anyio

CAPS = Caps(seconds=30, of_owner=3, of_all=5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis") / "socket", megabytes=8) as address:
        yield address


@contextlib.asynccontextmanager
async def in_redis(
    address: str, caps: Caps = CAPS, clock: Callable[[], float] = time.time
) -> AsyncIterator[RedisSessions]:
    store = RedisSessions(address, caps, clock)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Sessions]:
    if request.param == "memory":
        yield MemorySessions(CAPS)
        return
    async with in_redis(request.getfixturevalue("server")) as made:
        await made._redis.flushall()
        yield made


async def test_a_state_is_kept_and_replaced(store: Sessions) -> None:
    name = await store.create("me", b"\0one")
    assert await store.load(name, "me") == b"\0one"
    assert await store.replace(name, "me", b"\0one", b"two\xff")
    assert await store.load(name, "me") == b"two\xff"


async def test_names_cannot_be_guessed(store: Sessions) -> None:
    names = {await store.create("me", b"") for _ in range(3)}
    assert len(names) == 3
    assert all(len(name) == 32 and int(name, 16) for name in names)


async def test_of_two_who_have_read_the_same_state_one_replaces_it(store: Sessions) -> None:
    name = await store.create("me", b"one")
    won = []

    async def race(new: bytes) -> None:
        won.append(await store.replace(name, "me", b"one", new))

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(race, b"%d" % number)
    assert sorted(won) == [False] * 4 + [True]


@pytest.mark.parametrize("name", ["0" * 32, "", "nobody's"])
async def test_a_session_that_never_was_is_not_found(store: Sessions, name: str) -> None:
    with pytest.raises(NotFound, match="no such session"):
        await store.load(name, "me")
    assert not await store.replace(name, "me", b"", b"")


async def test_a_session_is_nobody_elses(store: Sessions) -> None:
    name = await store.create("me", b"one")
    with pytest.raises(NotFound, match="not this token's"):
        await store.load(name, "you")
    assert not await store.replace(name, "you", b"one", b"two")
    assert await store.load(name, "me") == b"one"


async def test_one_owner_has_so_many_and_another_still_has_some(store: Sessions) -> None:
    for _ in range(CAPS.of_owner):
        await store.create("me", b"")
        await store.check("you")
    for refused in (store.check("me"), store.create("me", b"")):
        with pytest.raises(Overloaded, match="has 3 sessions") as error:
            await refused
        assert error.value.retry_after == CAPS.seconds
    await store.create("you", b"")


async def test_a_session_that_has_ended_takes_nobodys_place_and_its_last_answer_is_kept(store: Sessions) -> None:
    for number in range(2 * CAPS.of_owner):
        name = await store.create("me", b"one")
        assert await store.replace(name, "me", b"one", b"%d" % number, last=True)
    assert await store.load(name, "me") == b"%d" % number
    with pytest.raises(NotFound):
        await store.load(name, "you")


async def test_what_memory_keeps_of_sessions_that_have_ended_ends_too(clock: Clock) -> None:
    store = MemorySessions(Caps(seconds=300, of_owner=3, of_all=5), clock)
    names = [await store.create("me", b"") for _ in range(2)]
    for name in names:
        assert await store.replace(name, "me", b"", b"last", last=True)
    clock.now += 29
    assert await store.load(names[0], "me") == b"last"
    clock.now += 1
    with pytest.raises(NotFound):
        await store.load(names[0], "me")
    for _ in range(20):
        assert await store.replace(await store.create("me", b""), "me", b"", b"last", last=True)
    await store.create("me", b"")
    assert len(store._ended) == 5
    assert store._counts == {"me": 1}


async def test_memory_is_for_so_many_in_all() -> None:
    store = MemorySessions(CAPS)
    for number in range(CAPS.of_all):
        await store.create(str(number), b"")
    for refused in (store.check("more"), store.create("more", b"")):
        with pytest.raises(Overloaded, match="5 sessions, as many as it takes"):
            await refused


async def test_a_session_in_memory_ends_when_nobody_asks_for_it(clock: Clock) -> None:
    store = MemorySessions(CAPS, clock)
    old, kept = await store.create("me", b"one"), await store.create("me", b"two")
    clock.now += 20
    assert await store.replace(kept, "me", b"two", b"three")
    clock.now += 10
    with pytest.raises(NotFound):
        await store.load(old, "me")
    assert await store.load(kept, "me") == b"three"
    clock.now += 20
    await store.create("you", b"")
    assert (list(store._counts), len(store._kept)) == (["you"], 1), "nothing is left of those that ended"


async def test_a_session_in_redis_ends_when_nobody_asks_for_it(server: str, clock: Clock) -> None:
    async with in_redis(server, CAPS, clock) as store:
        await store._redis.flushall()
        names = [await store.create("me", b"one") for _ in range(CAPS.of_owner)]
        keys = await store._redis.keys()
        assert len(keys) == CAPS.of_owner + 1
        assert all([0 < await store._redis.ttl(key) <= CAPS.seconds for key in keys])
        clock.now += CAPS.seconds
        await store.check("me")
        await store.create("me", b"those that ended do not count")
        await store._redis.delete(*[key for key in keys if names[0].encode() in key])
        with pytest.raises(NotFound):
            await store.load(names[0], "me")


async def test_a_full_redis_refuses_and_says_so(server: str) -> None:
    async with in_redis(server, Caps(30, 1000, 1000)) as store:
        await store._redis.flushall()
        with contextlib.suppress(redis.exceptions.OutOfMemoryError):
            for number in range(1 << 16):
                await store._redis.set(str(number), b"x" * 4096)
        with pytest.raises(Overloaded, match="store of sessions is full"):
            await store.create("me", b"x" * 8192)
        await store._redis.flushall()
        await store.create("me", b"x")


async def test_a_redis_that_was_started_anew_is_found_again(tmp_path: Path) -> None:
    with redis_server(tmp_path / "socket") as address:
        store = RedisSessions(address, CAPS)
        name = await store.create("me", b"one")
    with redis_server(tmp_path / "socket"):
        with pytest.raises(NotFound):
            await store.load(name, "me")
        name = await store.create("me", b"two")
    with redis_server(tmp_path / "socket"):
        assert not await store.replace(name, "me", b"two", b"three")
        await store.close()


async def test_a_redis_that_does_not_answer_is_not_waited_for_long(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "socket"))
        deaf.listen(1)
        async with in_redis(f"unix://{tmp_path}/socket") as store:
            with pytest.raises(NotReady, match="does not answer"):
                await store.load("0" * 32, "me")


def nobody(_: Path) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{free.getsockname()[1]}"


def no_socket(folder: Path) -> str:
    return f"unix://{folder}/nothing"


@pytest.mark.parametrize("address", [nobody, no_socket])
async def test_a_redis_that_is_down_is_said_to_be(address: Callable[[Path], str], tmp_path: Path) -> None:
    async with in_redis(address(tmp_path), CAPS) as store:
        asked: list[Callable[[], Any]] = [
            lambda: store.create("me", b""),
            lambda: store.check("me"),
            lambda: store.load("0" * 32, "me"),
            lambda: store.replace("0" * 32, "me", b"", b""),
        ]
        for ask in asked:
            with pytest.raises(NotReady, match="does not answer: ConnectionError") as error:
                await ask()
            assert error.value.retry_after


def test_an_owner_is_known_by_his_token_which_is_not_told() -> None:
    assert owner_of(b"Bearer secret") == owner_of(b"bearer  secret ") != owner_of(b"Bearer other")
    assert owner_of(b"") == owner_of(b"") != owner_of(b"Bearer x")
    assert "secret" not in owner_of(b"Bearer secret")
