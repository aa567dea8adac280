"""Who may in: bearer tokens out of a file, which is read again while the pod serves."""

import codecs
import errno
import hmac
import logging
import time
from collections.abc import Callable
from contextvars import Context
from pathlib import Path
from typing import Final

from service.errors import PermissionDenied, Unauthenticated

_log = logging.getLogger("tfpod.tokens")
#: Seconds for which a reading of the file is good.
_GOOD_FOR: Final = 1.0
#: Errors that tell nothing of the file, but that this process has nothing left to read it with.
_OURS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Tokens:
    """The tokens of the file at `path`, one a line; without a path everybody is let in.

    The first request of a second reads the file again, whose changes so need neither a signal nor a restart; comparing
    what is in it, not its times, misses none, however a volume replaces its files. A file that is missing, unreadable
    or empty lets nobody in, at the start as later: a token that was taken away must not go on working. Only if the
    process itself has no descriptor left, which strangers can bring about, the tokens stay as they are.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = Path(path) if path else None, clock
        self._known: tuple[bytes, ...] = ()
        self._last: tuple[bytes, str] | None = None
        #: Why nobody is let in, if so.
        self.fault: str | None = None
        self._good_until = float("inf")
        if self._path:
            self._read(self._path)
            if not self._path.is_fifo():  # which can be read but once
                self._good_until = self._clock() + _GOOD_FOR

    @property
    def count(self) -> int | None:
        """How many tokens are known; None if none is needed."""
        return len(self._known) if self._path else None

    def authorize(self, header: bytes) -> None:
        """Compare the bearer token of an Authorization header with every one known, in constant time.

        Raises Unauthenticated where there is no token, PermissionDenied for one that is not known.
        """
        if not self._path:
            return
        scheme, _, given = header.partition(b" ")
        given = given.strip()
        if scheme.lower() != b"bearer" or not given:
            raise Unauthenticated("a token is required: 'Authorization: Bearer TOKEN'")
        if self._clock() >= self._good_until:
            self._good_until = self._clock() + _GOOD_FOR
            Context().run(self._read, self._path)  # no log line about it is about this request
        if not sum(hmac.compare_digest(given, token) for token in self._known):
            raise PermissionDenied("the token is not known")

    def _read(self, path: Path) -> None:
        """Take over what is in the file; log what changed, but no token."""
        fault = "it is empty"
        try:
            content = path.read_bytes()
        except OSError as error:
            if error.errno in _OURS:
                _log.warning("the token file could not be read again", extra={"reason": str(error)})
                return
            content, fault = b"", str(error)
        if (content, fault) == self._last:
            return
        first, self._last = self._last is None, (content, fault)
        lines = content.removeprefix(codecs.BOM_UTF8).splitlines()
        self._known = tuple(line.strip() for line in lines if line.strip())
        self.fault = None if self._known else fault
        if self.fault:
            _log.error("nobody is let in by the token file", extra={"path": str(path), "reason": fault})
        elif not first:
            _log.info("tokens changed", extra={"path": str(path), "tokens": len(self._known)})
