"""Who may in: bearer tokens out of a file."""

import codecs
import hmac
import logging
from collections.abc import Sequence
from pathlib import Path

from service.errors import PermissionDenied, Unauthenticated

_log = logging.getLogger("tfpod.tokens")


def read_tokens(path: str) -> tuple[bytes, ...] | None:
    """Return the tokens of the file, one a line, or None if no file is named.

    A file that is named but missing, unreadable or empty lets nobody in.
    """
    if not path:
        return None
    try:
        text = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
        tokens = tuple(line.strip() for line in text.splitlines() if line.strip())
    except OSError as error:
        _log.error("nobody is let in: the token file cannot be read", extra={"path": path, "reason": str(error)})
        return ()
    if not tokens:
        _log.error("nobody is let in: the token file is empty", extra={"path": path})
    return tokens


def authorize(tokens: Sequence[bytes] | None, header: bytes) -> None:
    """Compare the bearer token of an Authorization header with every one known, in constant time; None knows all.

    Raises Unauthenticated where there is no token, PermissionDenied for one that is not known.
    """
    if tokens is None:
        return
    scheme, _, given = header.partition(b" ")
    given = given.strip()
    if scheme.lower() != b"bearer" or not given:
        raise Unauthenticated("a token is required: 'Authorization: Bearer TOKEN'")
    if not sum(hmac.compare_digest(given, token) for token in tokens):
        raise PermissionDenied("the token is not known")
