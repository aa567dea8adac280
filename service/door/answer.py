"""The ASGI `send` of one request, which remembers how far the answer has got."""

from collections.abc import Awaitable
from typing import Final

from starlette.types import Message, Send

#: What proxies call it when the client is gone before its answer.
UNANSWERED: Final = 499


class Answer:
    """Adds `headers` to the answer."""

    __slots__ = ("_send", "headers", "size", "started", "status")

    def __init__(self, send: Send, *headers: tuple[bytes, bytes]) -> None:
        self._send, self.headers = send, headers
        #: The status, what proxies say before there is one; whether there is; and the bytes of the body so far.
        self.status, self.started, self.size = UNANSWERED, False, 0

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send a part of the answer (ASGI)."""
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
            message["headers"] = [*message.get("headers", ()), *self.headers]
        else:
            self.size += len(message.get("body", b""))
        return self._send(message)
