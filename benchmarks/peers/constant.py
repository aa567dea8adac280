"""What no server can exceed: uvicorn, bare and with Starlette, that gives a constant answer, or decodes and encodes."""

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send


class Asked(msgspec.Struct):
    """The body of a request: rows of numbers."""

    instances: list[list[float]]


_PREDICTIONS = {"predictions": [[0.1] * 10]}
_ANSWER = msgspec.json.encode(_PREDICTIONS)
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]
_decoder = msgspec.json.Decoder(Asked)
_encoder = msgspec.json.Encoder()


async def bare(_: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer, without any framework."""
    await _body(receive)
    await _respond(send, _ANSWER)


async def bare_json(_: Scope, receive: Receive, send: Send) -> None:
    """Do so, and decode the body and encode the answer."""
    _decoder.decode(await _body(receive))
    await _respond(send, _encoder.encode(_PREDICTIONS))


async def _constant(request: Request) -> Response:
    await request.body()
    return Response(_ANSWER, media_type="application/json")


async def _json(request: Request) -> Response:
    _decoder.decode(await request.body())
    return Response(_encoder.encode(_PREDICTIONS), media_type="application/json")


framed = Starlette(routes=[Route("/predict", _constant, methods=["POST"])])
framed_json = Starlette(routes=[Route("/predict", _json, methods=["POST"])])


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _respond(send: Send, answer: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": answer})
