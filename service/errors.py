"""What can go wrong with a request, in the service's own terms; each wire format has its own envelope for them.

PodError
├── InvalidRequest        the caller must change the request
│   ├── TooLarge          … make it smaller
│   ├── UnsupportedMedia  … say what it is, in a form that is spoken here
│   └── IncompleteRequest … send all of it, in time
├── Unauthenticated       no token came along
├── PermissionDenied      a token came along that is not known
├── NotFound              no such model, version or signature
├── NotSupported          nothing here does that
├── Overloaded            this pod is full: try again, here or at another one
├── NotReady              the model is not loaded yet
├── DeadlineExceeded      the time that the request had is over
└── ModelFailed           the model raised, or answered with something unusable
"""


class PodError(Exception):
    """Base of all; the text is meant for the caller. `retry_after`: seconds until a new try makes sense, or None."""

    retry_after: int | None = None


class InvalidRequest(PodError):
    """The request is malformed, or does not fit the model."""


class TooLarge(InvalidRequest):
    """The request is larger than this pod takes, however idle it is."""


class UnsupportedMedia(InvalidRequest):
    """The body is in a form that is not spoken here."""


class IncompleteRequest(InvalidRequest):
    """The body did not arrive within the request's time."""


class Unauthenticated(PodError):
    """The request carries no token."""


class PermissionDenied(PodError):
    """The request's token is not known."""


class NotFound(PodError):
    """The model, version or signature does not exist."""


class NotSupported(PodError):
    """The protocol has it, this service does not."""


class Overloaded(PodError):
    """The pod has as much to do as it may take on."""

    def __init__(self, text: str, retry_after: int = 1) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class NotReady(PodError):
    """The model is still being loaded."""

    retry_after = 5


class DeadlineExceeded(PodError):
    """The request's time is over."""


class ModelFailed(PodError):
    """The model raised an exception, or its outputs do not have the promised shape."""
