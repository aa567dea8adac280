"""Keeps what must outlast a request: states of sessions, in memory for one pod, in Redis for many.

A session belongs to its owner and is known by an opaque id of 128 random bits. A state is bytes, replaced only by who
has read the one before it: of two requests for the same piece one wins, in whichever pods they are. A session ends when
nobody has asked for it for a while.
"""

import hashlib
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from service.errors import NotFound, NotReady, Overloaded

#: Seconds that Redis is waited for, and once more where it closes the connection.
_PATIENCE: Final = 2.0
#: Seconds that a session which has ended is kept for one who has not got the last answer.
_AFTERWARDS: Final = 30
#: The owner of all sessions where no token is needed.
EVERYBODY: Final = "everybody"
_NO_SESSION: Final = "there is no such session: it has ended, or is not this token's"

#: The first line, of Redis 7, has a script refused where memory is out: without it, scripts may write all the same.
#: Adds a session unless its owner has too many. KEYS: session, owner's set; ARGV: state, id, now, seconds, most.
_CREATE: Final = """#!lua
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3])
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3] + ARGV[4], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 1
"""
#: Replaces a state by the next. KEYS: session, owner's set; ARGV: state, id, now, seconds, old state, 1 if it ends.
_REPLACE: Final = """#!lua
if redis.call('GET', KEYS[1]) ~= ARGV[5] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[4])
if ARGV[6] == '1' then
  redis.call('ZREM', KEYS[2], ARGV[2])
  return 1
end
redis.call('ZADD', KEYS[2], ARGV[3] + ARGV[4], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 1
"""


@dataclass(frozen=True, slots=True)
class Caps:
    """How long a session lives when nobody asks for it, in seconds, and how many one owner, and all, may have."""

    seconds: int
    of_owner: int
    of_all: int

    @property
    def afterwards(self) -> int:
        """Seconds for which the last answer is given again."""
        return min(self.seconds, _AFTERWARDS)


class Sessions(Protocol):
    """A store. An owner is whoever holds a token; without tokens all are one."""

    async def create(self, owner: str, state: bytes) -> str:
        """Return the id of a new session. Raises Overloaded if there are too many, NotReady if the store is down."""
        ...

    async def check(self, owner: str) -> None:
        """Raise what `create` would by now, for no session is worth any work that cannot be kept."""
        ...

    async def load(self, name: str, owner: str) -> bytes:
        """Return the state of a session. Raises NotFound, also for somebody else's, or NotReady."""
        ...

    async def replace(self, name: str, owner: str, old: bytes, new: bytes, *, last: bool = False) -> bool:
        """Replace the state `old` by `new`; False if it is another by now, or none. Raises Overloaded or NotReady.

        After the `last` state the session is kept for a short while, and no longer counts as one that its owner has.
        """
        ...

    async def close(self) -> None:
        """Let go of the store."""
        ...


@dataclass(slots=True)
class _Kept:
    owner: str
    state: bytes
    ends: float


class MemorySessions:
    """Sessions of this pod alone; they end with it."""

    def __init__(self, caps: Caps, clock: Callable[[], float] = time.monotonic) -> None:
        self._caps, self._clock = caps, clock
        #: Those that go on, and those whose last state this is; those replaced last come last, so the first end first.
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._ended: OrderedDict[str, _Kept] = OrderedDict()
        self._counts: Counter[str] = Counter()

    async def create(self, owner: str, state: bytes) -> str:
        """See Sessions."""
        await self.check(owner)
        name = _name()
        self._kept[name] = _Kept(owner, state, self._clock() + self._caps.seconds)
        self._counts[owner] += 1
        return name

    async def check(self, owner: str) -> None:
        """See Sessions."""
        self._forget()
        if self._counts[owner] >= self._caps.of_owner:
            raise _too_many(self._caps)
        if len(self._kept) >= self._caps.of_all:
            raise Overloaded(f"this pod has {len(self._kept)} sessions, as many as it takes")

    async def load(self, name: str, owner: str) -> bytes:
        """See Sessions."""
        self._forget()
        kept = self._kept.get(name) or self._ended.get(name)
        if kept is None or kept.owner != owner:
            raise NotFound(_NO_SESSION)
        return kept.state

    async def replace(self, name: str, owner: str, old: bytes, new: bytes, *, last: bool = False) -> bool:
        """See Sessions."""
        kept = self._kept.get(name)
        if kept is None or kept.owner != owner or kept.state != old:
            return False
        if last:
            self._drop(name)
            self._ended[name] = _Kept(owner, new, self._clock() + self._caps.afterwards)
            return True
        kept.state, kept.ends = new, self._clock() + self._caps.seconds
        self._kept.move_to_end(name)
        return True

    async def close(self) -> None:
        """See Sessions."""

    def _forget(self) -> None:
        now = self._clock()
        while self._kept and next(iter(self._kept.values())).ends <= now:
            self._drop(next(iter(self._kept)))
        while self._ended and (next(iter(self._ended.values())).ends <= now or len(self._ended) > self._caps.of_all):
            self._ended.popitem(last=False)

    def _drop(self, name: str) -> None:
        owner = self._kept.pop(name).owner
        self._counts[owner] -= 1
        if not self._counts[owner]:
            del self._counts[owner]


class RedisSessions:
    """Sessions of all pods that share a Redis."""

    def __init__(self, url: str, caps: Caps, clock: Callable[[], float] = time.time) -> None:
        """Take the address, `redis://…` or `rediss://…`; nothing is asked there before it has to be."""
        import redis.asyncio.retry  # noqa: PLC0415 - most pods keep no sessions there
        from redis.backoff import NoBackoff  # noqa: PLC0415

        # A connection that was closed meanwhile is opened again; what is asked twice so comes to the same.
        again = redis.asyncio.retry.Retry(NoBackoff(), 1, (redis.ConnectionError,))
        self._caps, self._clock, self._errors = caps, clock, redis
        self._redis: Any = redis.asyncio.from_url(
            url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE, retry=again
        )

    async def create(self, owner: str, state: bytes) -> str:
        """See Sessions."""
        name = _name()
        async with self._asking():
            if not await self._run(_CREATE, name, owner, state, self._caps.seconds, self._caps.of_owner):
                raise _too_many(self._caps)
        return name

    async def check(self, owner: str) -> None:
        """See Sessions."""
        async with self._asking():
            if await self._redis.zcount(_set(owner), f"({self._clock()}", "+inf") >= self._caps.of_owner:
                raise _too_many(self._caps)

    async def load(self, name: str, owner: str) -> bytes:
        """See Sessions."""
        async with self._asking():
            state: bytes | None = await self._redis.get(_key(name, owner))
        if state is None:
            raise NotFound(_NO_SESSION)
        return state

    async def replace(self, name: str, owner: str, old: bytes, new: bytes, *, last: bool = False) -> bool:
        """See Sessions."""
        seconds = self._caps.afterwards if last else self._caps.seconds
        async with self._asking():
            return bool(await self._run(_REPLACE, name, owner, new, seconds, old, int(last)))

    async def close(self) -> None:
        """See Sessions."""
        await self._redis.aclose()

    async def _run(self, script: str, name: str, owner: str, state: bytes, seconds: int, *more: bytes | int) -> Any:
        keys = (_key(name, owner), _set(owner))
        return await self._redis.eval(script, 2, *keys, state, name, self._clock(), seconds, *more)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            yield
        except self._errors.OutOfMemoryError:
            raise Overloaded("the store of sessions is full") from None
        except (self._errors.RedisError, OSError) as error:
            raise NotReady(f"the store of sessions does not answer: {type(error).__name__}") from None


def owner_of(authorization: bytes) -> str:
    """Return who a request's Authorization header tells it is from; nobody learns the token from that."""
    return hashlib.blake2b(authorization.partition(b" ")[2].strip(), digest_size=16).hexdigest()


def _name() -> str:
    return secrets.token_hex(16)


def _key(name: str, owner: str) -> str:
    """Return a session's key, which nobody but its owner can name; the braces keep an owner's keys on one node."""
    return f"tfpod:{{{owner}}}:session:{name}"


def _set(owner: str) -> str:
    """Return the key of the names of an owner's sessions, each with the time when it ends."""
    return f"tfpod:{{{owner}}}:sessions"


def _too_many(caps: Caps) -> Overloaded:
    return Overloaded(f"this token has {caps.of_owner} sessions, as many as it may have", caps.seconds)
