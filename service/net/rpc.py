"""The gRPC server: hands each call to an ASGI application as the HTTP request that it is, and its answer back.

gRPC's own library speaks HTTP/2; the message is asked for only when the application wants it, so that what is refused
at the door is refused before it is read.
"""

import functools
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import grpc
from grpc import aio
from starlette.types import ASGIApp, Message, Scope

#: What the application is told of a call's metadata: all that it looks at.
_PASSED: Final = frozenset({"authorization", "baggage", "traceparent", "tracestate", "user-agent", "x-request-id"})
#: The header by which Envoy tells an application how long it will wait, in milliseconds.
_EXPECTED: Final = "x-envoy-expected-rq-timeout-ms"
#: By grpc/doc/statuscodes.md. A pod that is full is UNAVAILABLE, as TensorFlow Serving is: clients try that again.
_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.UNAVAILABLE,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
#: Of an error's text: it is sent in a header, of which there may be 8 KiB.
_LONGEST_TEXT: Final = 1024
#: Milliseconds after which a connection is to be made anew: so the pods that were added have their share.
_AGE: Final = 60_000


class RpcServer:
    """Serves one ASGI application by gRPC, without encryption."""

    def __init__(self, app: ASGIApp, *, longest: int, calls: int, handshake: float, request: float) -> None:
        """Let a message have `longest` bytes, one connection make `calls` at once.

        `handshake` and `request` are the seconds that a connection's begin and a call may take.
        """
        options = [
            ("grpc.so_reuseport", 0),  # a port that is taken is an error
            ("grpc.max_receive_message_length", longest),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", calls),
            ("grpc.server_handshake_timeout_ms", int(1000 * handshake)),
            ("grpc.max_connection_age_ms", _AGE),
            ("grpc.max_connection_age_grace_ms", int(1000 * (request + 1))),
        ]
        self._server = aio.server(options=options)
        #: The host and the port, once it listens.
        self.address = "", 0
        self._server.add_generic_rpc_handlers((_Calls(app),))

    async def start(self, host: str, port: int) -> None:
        """Listen, without a host at all addresses. Raises OSError."""
        address = f"{host}:{port}" if host and ":" not in host else f"[{host or '::'}]:{port}"
        try:
            self.address = host or "::", self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"gRPC: {error}") from None
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Take no more calls, and return when those under way have ended, at the latest after `grace` seconds."""
        await self._server.stop(grace)


class _Calls(grpc.GenericRpcHandler):
    """Every method that is called, of any service."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def service(self, details: Any) -> Any:
        """Return what answers the call: it reads the message itself."""
        return grpc.stream_unary_rpc_method_handler(functools.partial(self._answer, details))

    async def _answer(self, details: Any, messages: AsyncIterator[bytes], context: Any) -> bytes:
        """Have the application answer; an answer that is no 200 is a status."""
        status, body = 500, b""
        metadata: tuple[tuple[str, str], ...] = ()

        async def receive() -> Message:
            return {"type": "http.request", "body": await anext(aiter(messages), b""), "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, metadata, body
            if message["type"] == "http.response.start":
                status, metadata = message["status"], _metadata(message["headers"])
            else:
                body += message.get("body", b"")

        await self._app(_scope(details, context), receive, send)
        if status != 200:
            text = body.decode(errors="replace")[:_LONGEST_TEXT]
            await context.abort(_CODES.get(status, grpc.StatusCode.INTERNAL), text, metadata)
        context.set_trailing_metadata(metadata)
        return body


def _scope(details: Any, context: Any) -> Scope:
    given = [(key, value) for key, value in details.invocation_metadata if key in _PASSED]
    remaining = context.time_remaining()
    if remaining is not None:
        given.append((_EXPECTED, str(max(1, min(int(1000 * remaining), 10**9 - 1)))))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "2",
        "method": "POST",
        "scheme": "http",
        "path": details.method,
        "raw_path": details.method.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(key.encode(), value.encode()) for key, value in given],
        "client": None,
        "server": None,
    }


def _metadata(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """Return the answer's headers that a call can have, and in milliseconds when its client may try again."""
    found = {name.decode().lower(): value.decode() for name, value in headers}
    if "retry-after" in found:
        found["grpc-retry-pushback-ms"] = f"{found['retry-after']}000"
    return tuple((name, value) for name, value in found.items() if not name.startswith(("content-", "connection")))
