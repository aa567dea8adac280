"""What a client says besides its calls, and takes back: it is no use to anybody, and keeps the pod busy."""

from typing import Final

from service.net.frames import ALL_WINDOWS

#: Bytes that may be said between two answers, of which the head of one call, until it is whole, may be half; and in
#: all, with messages on their way to calls that have ended.
_ENOUGH: Final = 128 << 10
_MOST: Final = _ENOUGH + ALL_WINDOWS
#: Calls that may be taken back, or be more than a client may have at once, besides as many as are answered.
_TAKEN_BACK: Final = 1000


class Talk:
    """How much of it is still borne."""

    def __init__(self) -> None:
        self._left, self._answered = _ENOUGH, 0
        #: Calls that were either.
        self.taken_back = 0

    @property
    def too_much(self) -> bool:
        """True when it is not borne any longer."""
        return self._left < 0 or self.taken_back > _TAKEN_BACK + self._answered

    def heard(self, size: int) -> None:
        """Take note of what was said; of calls, too, until it is seen that it was of use."""
        self._left -= size

    def allow(self, size: int) -> None:
        """Bear so much more: it was of use, or cannot be helped."""
        self._left = min(_MOST, self._left + size)

    def answered(self) -> None:
        """Begin anew after an answer."""
        self._left = max(self._left, _ENOUGH)
        self._answered += 1
