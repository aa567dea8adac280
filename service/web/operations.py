"""What each route of the API is for: how it is summed up, what goes in, what may come out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.web import schemas
from service.web.schemas import BOOLEAN, STRING, Schema, listing, record

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
    501: "This pod does not do that.",
    503: "The model is not ready yet.",
    504: "The request's time was over before it was answered.",
}
#: Those of all inference requests.
INFERENCE: Final = (400, 404, 408, 413, 415, 429, 500, 503, 504)
#: What stands in braces in the paths.
PARAMETERS: Final[dict[str, Schema]] = {
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


_NATURAL: Final = {"type": "integer", "minimum": 0, "maximum": 10**9 - 1}
_TIMES: Final[dict[str, Schema]] = {"begin": {"type": "number"}, "end": {"type": "number"}}
_SOUNDS: Final[dict[str, Schema]] = {
    "words": listing(record({"text": STRING, **_TIMES})),
    "syllables": listing(record({"syllable": STRING, **_TIMES})),
}
_TRANSCRIPT: Final = record({"text": STRING, **_SOUNDS, "seconds": {"type": "number"}})
_ASRT_RECORDING: Final = record(
    {"samples": STRING | {"contentEncoding": "base64"}, "sample_rate": _NATURAL, "channels": _NATURAL}
    | {"byte_width": _NATURAL}
)
_AUDIO: Final = ("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "audio/pcm", "application/octet-stream")
_MODEL: Final[Sequence[tuple[str, Schema]]] = [("model", STRING | {"description": "of speech; without, the first"})]
_ASRT_CODES: Final[dict[str, Schema]] = {"status_code": {"type": "integer"}, "status_message": STRING}
_ASRT_TEXT: Final = record({"result": STRING, **_ASRT_CODES})
_ASRT_SYLLABLES: Final = record({"result": {"anyOf": [listing(STRING), STRING]}, **_ASRT_CODES})


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route is for, the schema of its answer, and what else is to know of it."""

    summary: str
    answer: Schema | None = None
    statuses: Sequence[int] = ()
    request: Schema | None = None
    #: What a request's body may be instead of JSON, and whether there must be one.
    request_types: Sequence[str] = ()
    body: bool = False
    #: What a request's header must hold.
    headers: Sequence[tuple[str, Schema]] = ()
    #: What a request may say behind its path's question mark.
    queries: Sequence[tuple[str, Schema]] = ()
    #: What a refusal is, if not `{"error"}`.
    error: Schema | None = None
    #: What the answer is instead of, or beside, JSON.
    media_types: Sequence[str] = ()
    description: str = ""


_ASRT: Final[dict[str, Any]] = {"error": _ASRT_TEXT, "queries": _MODEL}

#: By the routes' names.
OPERATIONS: Final = {
    "home": Operation(
        "What is served: JSON for programs, a page for browsers",
        record({"name": STRING, "version": STRING, "models": listing(STRING)}),
        media_types=["text/html"],
    ),
    "docs": Operation("This document as a page", media_types=["text/html"]),
    "openapi": Operation("This document", record({"openapi": STRING, "paths": _OBJECT})),
    "static": Operation(
        "A file of the pages", statuses=[404], media_types=["text/css", "text/javascript", "image/svg+xml"]
    ),
    "oip_live": Operation("Whether the server lives", record({"live": BOOLEAN})),
    "oip_ready": Operation("Whether all models are ready", record({"ready": BOOLEAN}), [503]),
    "oip_server": Operation(
        "Name, version and extensions of the server",
        record({"name": STRING, "version": STRING, "extensions": listing(STRING)}),
    ),
    "oip_index": Operation(
        "All versions of all models",
        listing(record({"name": STRING, "version": STRING, "state": STRING, "reason": STRING})),
        [400, 408, 413],
        request=record({}, ready=BOOLEAN),
    ),
    "oip_load": Operation("Refused: a version that is put into its model's folder is served", statuses=[501]),
    "tfserving_predict": Operation("Predict, in TensorFlow Serving's format"),
    "oip_infer": Operation(
        "Infer, by the Open Inference Protocol",
        media_types=["application/octet-stream"],
        description="Tensors may go as bytes behind the JSON, whose length the header Inference-Header-Content-Length "
        "tells then, in requests as in answers.",
    ),
    "transcribe": Operation(
        "Text, syllables and times of recorded speech",
        _TRANSCRIPT,
        queries=_MODEL,
        request_types=_AUDIO,
        body=True,
        description="A file, or PCM: 16 bits, little-endian, 16 kHz, one channel.",
    ),
    "stream_piece": Operation(
        "Text of speech that comes in pieces",
        record({"final": STRING, "partial": STRING, **_SOUNDS, "ended": BOOLEAN}),
        request_types=_AUDIO,
        headers=[("Tfpod-Sequence", _NATURAL)],
        queries=_MODEL,
        statuses=[501],
        description="The header Tfpod-Sequence numbers the pieces. The first answer sets the cookie tfpod_session, "
        "which comes along with all others; the header `Tfpod-Session: new` begins another session in spite of one. "
        "`final` is the text that became final with the piece, `partial` what may change yet. A piece that is sent "
        "again is answered again. An empty piece ends the session. A pod may keep no sessions.",
    ),
    "asrt_speech": Operation(
        "ASRT: the syllables of a recording", _ASRT_SYLLABLES, request=_ASRT_RECORDING, body=True, **_ASRT
    ),
    "asrt_all": Operation("ASRT: the text of a recording", _ASRT_TEXT, request=_ASRT_RECORDING, body=True, **_ASRT),
    "asrt_language": Operation(
        "ASRT: the text for syllables",
        _ASRT_TEXT,
        request=record({"sequence_pinyin": listing(STRING)}),
        statuses=[501],
        **_ASRT,
    ),
    "asrt_root": Operation(
        "ASRT: whether it is there; its old API: the text of a recording",
        _ASRT_TEXT,
        request=_OBJECT,
        request_types=["application/x-www-form-urlencoded"],
        media_types=["text/plain"],
        statuses=[403],
        description="A form has `token`, `fs`, the rate in Hz, and one `wavs` for each sample.",
        **_ASRT,
    ),
    "tfserving_status": Operation(
        "State of the versions, in TensorFlow Serving's format", record({"model_version_status": listing(_STATE)})
    ),
    "tfserving_metadata": Operation(
        "Signatures, in TensorFlow Serving's format", record({"model_spec": _OBJECT, "metadata": _OBJECT})
    ),
    "oip_model": Operation(
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
    "oip_model_ready": Operation("Whether the model is ready", record({"name": STRING, "ready": BOOLEAN})),
    "oip_config": Operation(
        "The model's configuration, as Triton's clients read it",
        record({"name": STRING, "max_batch_size": {"type": "integer"}, "input": listing(_OBJECT)}),
    ),
}
#: The schemas of each format's requests and answers, by route.
BODIES: Final = {
    "tfserving_predict": (schemas.predict, schemas.predictions),
    "oip_infer": (schemas.infer, schemas.inferred),
}
