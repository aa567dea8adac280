"""What a browser asks for: the page that shows what is served, the API's document and its page, and their files."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.errors import NotFound, PodError
from service.models.models import Models
from service.types import Signatures
from service.web.openapi import Documents

#: Hand-written, a few kilobytes each, and in memory from the start: no request touches the disk.
_FOLDER: Final = Path(__file__).with_name("static")
_MEDIA_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Cache-Control": "no-cache",  # asked for every time, and answered with 304 as long as nothing changed
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


async def home(request: Request) -> Response:
    """Show a person what is served; tell a program."""
    if "text/html" in request.headers.get("accept", ""):
        return _answer(request, _FILES["index.html"])
    models: Models = request.state.models
    about = {"name": "tfpod", "version": request.state.version, "models": models.names}
    return JSONResponse(about, headers={"Cache-Control": "no-cache", "Vary": "Accept"})


async def docs(request: Request) -> Response:
    """Show a person the API's document."""
    return _answer(request, _FILES["docs.html"])


async def openapi(request: Request) -> Response:
    """Answer with the API's document; what models take is told to those who are let in."""
    authorize: Callable[[bytes], None] = request.state.authorize
    models: Models = request.state.models
    known = _lets_in(authorize, request.headers.get("authorization", "").encode("latin-1"))
    served = {name: _signatures(models, name) if known else {} for name in models.names}
    closed = not _lets_in(authorize, b"")
    documents: Documents = request.state.documents
    headers = {"Cache-Control": "no-cache", "Vary": "Authorization"}
    return Response(documents.get(served, closed=closed), headers=headers, media_type="application/json")


async def static(request: Request) -> Response:
    """Answer with a file that the pages ask for."""
    name = request.path_params["file"]
    if name not in _FILES or name.endswith(".html"):
        raise NotFound(f"no such file: {name[:64]}")
    return _answer(request, _FILES[name])


def _lets_in(authorize: Callable[[bytes], None], header: bytes) -> bool:
    try:
        authorize(header)
    except PodError:
        return False
    return True


def _signatures(models: Models, name: str) -> Signatures:
    try:
        return models.get(name).signatures
    except PodError:
        return {}  # it is being loaded


class _File(NamedTuple):
    """A file's bytes, what they are, and a name for just these bytes."""

    content: bytes
    media_type: str
    tag: str


def _answer(request: Request, file: _File) -> Response:
    headers = _HEADERS | {"ETag": file.tag, "Vary": "Accept"}
    known = request.headers.get("if-none-match", "")
    if known == "*" or file.tag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, _MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


_FILES: Final = {path.name: _read(path) for path in sorted(_FOLDER.iterdir())}
