"""The API's own document, OpenAPI 3.1: made of the one route table and of what the models say of themselves.

Source: the OpenAPI Specification 3.1 at spec.openapis.org.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.routing import Route

from service import schemas
from service.schemas import BOOLEAN, STRING, Schema, listing, record
from service.types import Signatures


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


#: What each status tells of, whatever was asked.
ERRORS: Final = {
    400: "The request is malformed, or does not fit the model.",
    401: "A token is needed.",
    403: "The token is not known.",
    404: "There is no such thing: no such model, or no such version of it.",
    408: "The body did not arrive in time.",
    413: "The body, or the tensors in it, are larger than this pod takes.",
    415: "The body is in a coding that is not spoken here.",
    429: "This pod is full: try again, here or at another one.",
    500: "The model failed.",
    501: "This is not done by request.",
    503: "The model is not ready yet.",
    504: "The request's time was over before it was answered.",
}
_INFERENCE: Final = (400, 404, 408, 413, 415, 429, 500, 503, 504)
_SERVICE: Final = "service"
_RETRY: Final = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
_PARAMETERS: Final[dict[str, Schema]] = {
    "version": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    "label": STRING | {"minLength": 1},
    "file": STRING | {"minLength": 1},
}
_TENSORS: Final = listing(record({"name": STRING, "datatype": STRING, "shape": listing({"type": "integer"})}))
_STATE: Final = record(
    {
        "version": STRING,
        "state": {"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
        "status": record({"error_code": STRING, "error_message": STRING}),
    }
)
_OBJECT: Final = {"type": "object"}


@dataclass(frozen=True, slots=True)
class _Operation:
    """What a route is for, the schema of its answer, and what else is to know of it."""

    summary: str
    answer: Schema | None = None
    statuses: Sequence[int] = ()
    request: Schema | None = None
    #: What the answer is instead of, or beside, JSON.
    media_types: Sequence[str] = ()
    description: str = ""


_OPERATIONS: Final = {
    "home": _Operation(
        "What is served: JSON for programs, a page for browsers",
        record({"name": STRING, "version": STRING, "models": listing(STRING)}),
        media_types=["text/html"],
    ),
    "docs": _Operation("This document as a page", media_types=["text/html"]),
    "openapi": _Operation("This document", record({"openapi": STRING, "paths": _OBJECT})),
    "static": _Operation(
        "A file of the pages", statuses=[404], media_types=["text/css", "text/javascript", "image/svg+xml"]
    ),
    "oip_live": _Operation("Whether the server lives", record({"live": BOOLEAN})),
    "oip_ready": _Operation("Whether all models are ready", record({"ready": BOOLEAN}), [503]),
    "oip_server": _Operation(
        "Name, version and extensions of the server",
        record({"name": STRING, "version": STRING, "extensions": listing(STRING)}),
    ),
    "oip_index": _Operation(
        "All versions of all models",
        listing(record({"name": STRING, "version": STRING, "state": STRING, "reason": STRING})),
        [400, 408, 413],
        request=record({}, ready=BOOLEAN),
    ),
    "oip_load": _Operation("Refused: a version that is put into its model's folder is served", statuses=[501]),
    "tfserving_predict": _Operation("Predict, in TensorFlow Serving's format"),
    "oip_infer": _Operation(
        "Infer, by the Open Inference Protocol",
        media_types=["application/octet-stream"],
        description="Tensors may go as bytes behind the JSON, whose length the header Inference-Header-Content-Length "
        "tells then, in requests as in answers.",
    ),
    "tfserving_status": _Operation(
        "State of the versions, in TensorFlow Serving's format", record({"model_version_status": listing(_STATE)})
    ),
    "tfserving_metadata": _Operation(
        "Signatures, in TensorFlow Serving's format", record({"model_spec": _OBJECT, "metadata": _OBJECT})
    ),
    "oip_model": _Operation(
        "Inputs and outputs, by the Open Inference Protocol",
        record(
            {
                "name": STRING,
                "versions": listing(STRING),
                "platform": STRING,
                "inputs": _TENSORS,
                "outputs": _TENSORS,
            }
        ),
    ),
    "oip_model_ready": _Operation("Whether the model is ready", record({"name": STRING, "ready": BOOLEAN})),
    "oip_config": _Operation(
        "The model's configuration, as Triton's clients read it",
        record({"name": STRING, "max_batch_size": {"type": "integer"}, "input": listing(_OBJECT)}),
    ),
}
#: The schemas of each format's requests and answers, by route.
_BODIES: Final = {
    "tfserving_predict": (schemas.predict, schemas.predictions),
    "oip_infer": (schemas.infer, schemas.inferred),
}


def _operation(place: Place, path: str, model: str | None, signatures: Signatures, *, closed: bool) -> Schema:
    name, about = place.route.name, _OPERATIONS[place.route.name]
    given = [key for key in _PARAMETERS if f"{{{key}}}" in path]
    statuses = {*about.statuses, *(_INFERENCE if place.inference else ()), *((404, 503) if model else ())}
    statuses |= {400} if {"version", "label"} & set(given) else set()
    statuses |= {401, 403} if closed and not place.is_open else set()
    answer = {"$ref": f"#/components/schemas/{model}.{name}.answer"} if name in _BODIES else about.answer
    content: Schema = {media_type: {} for media_type in about.media_types} | _json(answer)
    responses: dict[str, Any] = {} if 501 in statuses else {"200": {"description": "The answer.", "content": content}}
    responses |= {f"{status}": {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
    if name == "oip_ready":
        responses["503"] = {"description": "Not all are.", "content": content}
    return {
        "operationId": re.sub(r"[^\w.-]+", "_", path.replace("{model}", model or "")).strip("_") or name,
        "summary": about.summary,
        "description": about.description,
        "tags": [model or _SERVICE],
        "parameters": [{"name": key, "in": "path", "required": True, "schema": _PARAMETERS[key]} for key in given],
        "responses": responses,
        **({"security": []} if closed and place.is_open else {}),
        **_request(about, name, model, signatures),
    }


def _request(about: _Operation, name: str, model: str | None, signatures: Signatures) -> Mapping[str, Schema]:
    if name not in _BODIES:
        return {"requestBody": {"content": _json(about.request)}} if about.request else {}
    example = schemas.examples(signatures)[list(_BODIES).index(name)]
    content = _json({"$ref": f"#/components/schemas/{model}.{name}.request"}, example)
    return {"requestBody": {"required": True, "content": content | {kind: {} for kind in about.media_types}}}


def _components(served: Mapping[str, Signatures]) -> Iterator[tuple[str, Schema]]:
    for model, signatures in served.items():
        for name, (request, answer) in _BODIES.items():
            yield f"{model}.{name}.request", request(signatures)
            yield f"{model}.{name}.answer", answer(signatures)


def _error(status: int, text: str) -> Schema:
    headers = _RETRY if status in {429, 503} else {}
    return {"description": text, "headers": headers, "content": _json({"$ref": "#/components/schemas/error"})}


def _json(schema: Schema | None, example: Any = None) -> dict[str, Schema]:
    if schema is None:
        return {}
    return {"application/json": {"schema": schema} | ({} if example is None else {"example": example})}
