"""The ASGI `send` of one request, which remembers how far the answer has got."""

from collections.abc import Awaitable
from typing import Final

from starlette.types import Message, Send

#: What proxies call it when the client is gone before its answer.
UNANSWERED: Final = 499


class Answer:
    """Adds `headers` to the answer.

    While it `closes`, the answer ends the connection: a client that waits for `100 Continue` and is refused instead may
    or may not send its body, so nobody can tell where its next request begins (RFC 9110, section 10.1.1).
    """

    __slots__ = ("_send", "closes", "headers", "size", "started", "status")

    def __init__(self, send: Send, *headers: tuple[bytes, bytes]) -> None:
        self._send, self.headers, self.closes = send, headers, False
        #: The status, what proxies say before there is one; whether there is; and the bytes of the body so far.
        self.status, self.started, self.size = UNANSWERED, False, 0

    @classmethod
    def of(cls, send: Send) -> "Answer":
        """Return the answer that somebody further out has begun to watch, or a new one."""
        return send if isinstance(send, cls) else cls(send)

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send a part of the answer (ASGI)."""
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
            message["headers"] = [*message.get("headers", ()), *self.headers]
            if self.closes:
                message["headers"].append((b"connection", b"close"))
        else:
            self.size += len(message.get("body", b""))
        return self._send(message)
