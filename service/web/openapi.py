"""The API's own document, OpenAPI 3.1: made of the one route table and of what the models say of themselves.

Source: the OpenAPI Specification 3.1 at spec.openapis.org.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

import orjson
from starlette.routing import Route

from service.types import Signatures
from service.web import schemas
from service.web.operations import BODIES, ERRORS, INFERENCE, OPERATIONS, PARAMETERS, Operation
from service.web.schemas import STRING, Schema, record


class Place(Protocol):
    """A line of the route table."""

    @property
    def route(self) -> Route:
        """Path, methods and name."""
        ...

    @property
    def is_open(self) -> bool:
        """Tell whether it asks for no token."""
        ...

    @property
    def inference(self) -> str | None:
        """The route's name, if it is one of inference."""
        ...


#: What does not belong to a model, whose names have no blanks.
_SERVICE: Final = "the service"
_RETRY: Final = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}


class Documents:
    """The document as JSON, kept until what is served has changed: everybody may ask for it, as often as he likes."""

    def __init__(self, places: Iterable[Place], version: str) -> None:
        self._places, self._version = list(places), version
        self._kept: dict[bool, tuple[Any, bytes]] = {}

    def get(self, served: Mapping[str, Signatures], *, closed: bool) -> bytes:
        """Return the document; see `document`."""
        known, asked = any(served.values()), (dict(served), closed)
        if known not in self._kept or self._kept[known][0] != asked:
            made = document(self._places, served, self._version, closed=closed)
            self._kept[known] = asked, orjson.dumps(made)
        return self._kept[known][1]


def document(places: Iterable[Place], served: Mapping[str, Signatures], version: str, *, closed: bool) -> Schema:
    """Return the document; `served` is every model's signatures, none if they are not known, or not to be told.

    `closed`: the pod lets nobody in without a token.
    """
    paths: dict[str, dict[str, Schema]] = {}
    for place in places:
        for path in templates(place.route):
            for model in served if "{model}" in path else [None]:
                (method,) = (place.route.methods or set()) - {"HEAD"}
                operation = _operation(place, path, model, served.get(model or "", {}), closed=closed)
                paths.setdefault(path.replace("{model}", model or ""), {})[method.lower()] = operation
    secured = {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}} if closed else {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tfpod",
            "version": version,
            "description": "Trained TensorFlow models over HTTP, in the formats of TensorFlow Serving and of the Open "
            "Inference Protocol. Numbers may be NaN, Infinity and -Infinity, which JSON itself does not know.",
        },
        "servers": [{"url": "."}],
        "tags": [{"name": name} for name in (*served, _SERVICE)],
        "security": [{"bearer": []}] if closed else [],
        "paths": paths,
        "components": {
            "schemas": {"error": record({"error": STRING}), **dict(_components(served))},
            "responses": {f"{status}": _error(status, text) for status, text in ERRORS.items()},
            **secured,
        },
    }


def templates(route: Route) -> list[str]:
    """Return the paths that a route stands for, with its parameters in braces; more than one if a group is optional."""
    path = re.sub(r"\(\?P<(\w+)>[^()]*\)", r"{\1}", route.path)
    start, *group = re.split(r"\(\?:([^()]*)\)\?", path)
    return [start + form + group[1] for form in ("", *group[0].split("|"))] if group else [start]


def _operation(place: Place, path: str, model: str | None, signatures: Signatures, *, closed: bool) -> Schema:
    name, about = place.route.name, OPERATIONS[place.route.name]
    given = [key for key in PARAMETERS if f"{{{key}}}" in path]
    statuses = {*about.statuses, *(INFERENCE if place.inference else ()), *((404, 503) if model else ())}
    statuses |= {400} if {"version", "label"} & set(given) else set()
    statuses |= {401, 403} if closed and not place.is_open else set()
    answer = {"$ref": f"#/components/schemas/{model}.{name}.answer"} if name in BODIES else about.answer
    content: Schema = {media_type: {} for media_type in about.media_types} | _json(answer)
    refused = 501 in statuses and not content
    responses: dict[str, Any] = {} if refused else {"200": {"description": "The answer.", "content": content}}
    responses |= {f"{status}": _refusal(status, about.error) for status in sorted(statuses)}
    if name == "oip_ready":
        responses["503"] = {"description": "Not all are.", "content": content}
    return {
        "operationId": re.sub(r"[^\w.-]+", "_", path.replace("{model}", model or "")).strip("_") or name,
        "summary": about.summary,
        "description": about.description,
        "tags": [model or _SERVICE],
        "parameters": [
            *({"name": key, "in": "path", "required": True, "schema": PARAMETERS[key]} for key in given),
            *({"name": key, "in": "header", "required": True, "schema": schema} for key, schema in about.headers),
            *({"name": key, "in": "query", "schema": schema} for key, schema in about.queries),
        ],
        "responses": responses,
        **({"security": []} if closed and place.is_open else {}),
        **_request(about, name, model, signatures),
    }


def _request(about: Operation, name: str, model: str | None, signatures: Signatures) -> Mapping[str, Schema]:
    if name not in BODIES:
        content = _json(about.request) | {media_type: {} for media_type in about.request_types}
        return {"requestBody": {"required": about.body, "content": content}} if content else {}
    example = schemas.examples(signatures)[list(BODIES).index(name)]
    content = _json({"$ref": f"#/components/schemas/{model}.{name}.request"}, example)
    return {"requestBody": {"required": True, "content": content | {kind: {} for kind in about.media_types}}}


def _components(served: Mapping[str, Signatures]) -> Iterator[tuple[str, Schema]]:
    for model, signatures in served.items():
        for name, (request, answer) in BODIES.items():
            yield f"{model}.{name}.request", request(signatures)
            yield f"{model}.{name}.answer", answer(signatures)


def _refusal(status: int, error: Schema | None) -> Schema:
    return _error(status, ERRORS[status], error) if error else {"$ref": f"#/components/responses/{status}"}


def _error(status: int, text: str, error: Schema | None = None) -> Schema:
    headers = _RETRY if status in {429, 503} else {}
    content = _json(error or {"$ref": "#/components/schemas/error"})
    return {"description": text, "headers": headers, "content": content}


def _json(schema: Schema | None, example: Any = None) -> dict[str, Schema]:
    if schema is None:
        return {}
    return {"application/json": {"schema": schema} | ({} if example is None else {"example": example})}
