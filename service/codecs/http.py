"""What the formats share of HTTP: the status of every error, the envelope that most of them have, and their headers."""

from collections.abc import Mapping
from typing import Final

import orjson

from service.errors import (
    DeadlineExceeded,
    IncompleteRequest,
    InvalidRequest,
    ModelFailed,
    NotFound,
    NotReady,
    NotSupported,
    Overloaded,
    PermissionDenied,
    PodError,
    TooLarge,
    Unauthenticated,
    UnsupportedMedia,
)

#: The headers of an answer in JSON.
JSON: Final[Mapping[str, str]] = {"Content-Type": "application/json"}

_STATUSES: Final[dict[type[PodError], int]] = {
    PodError: 500,
    InvalidRequest: 400,
    Unauthenticated: 401,
    PermissionDenied: 403,
    NotFound: 404,
    IncompleteRequest: 408,
    TooLarge: 413,
    UnsupportedMedia: 415,
    Overloaded: 429,
    ModelFailed: 500,
    NotSupported: 501,
    NotReady: 503,
    DeadlineExceeded: 504,
}


def status_of(error: PodError) -> int:
    """Return the HTTP status that tells of `error`."""
    return next(_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)


def encode_error(message: str) -> bytes:
    """Return `{"error": MESSAGE}`, the envelope of both TensorFlow Serving and the Open Inference Protocol."""
    return orjson.dumps({"error": message.encode(errors="replace").decode()})


def version_of(text: str) -> int:
    """Return the number that is a model's version. Raises InvalidRequest, in TensorFlow Serving's words."""
    digits = text.lstrip("0") or text[:1]
    if not (text.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) < 1 << 63):
        raise InvalidRequest(f"Failed to convert version: {text[:64]} to numeric.")
    return int(digits)
