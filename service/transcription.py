"""Speech over HTTP: ASRT's API, whole recordings, and speech that comes in pieces."""

import re
import time
from collections.abc import Callable
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from service.bodies import aside
from service.codecs import asrt, http
from service.errors import InvalidRequest, NotFound, PermissionDenied, Unauthenticated
from service.models import Models
from service.sessions import Sessions, owner_of
from service.speech import stream
from service.speech.audio import RATE, Samples, from_file, from_pcm
from service.speech.recogniser import Sound, Transcript
from service.types import DEFAULT_SIGNATURE, Call, Tensors

SEQUENCE: Final = "tfpod-sequence"
COOKIE: Final = "tfpod_session"
#: With the value `new` a piece begins a session whatever its cookie says, which a browser sends along unasked.
SESSION: Final = "tfpod-session"

#: The longest recording in one request, in seconds; decoding a file ends there.
_LONGEST: Final = 3600.0
_SESSION: Final = re.compile(r"[0-9a-f]{32}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_PCM: Final = ("application/octet-stream", "audio/pcm")


class Ear:
    """The recogniser of a request, which has until its deadline. Use it as a context, as its model."""

    def __init__(self, request: Request) -> None:
        """Take the first model of speech. Raises NotFound if there is none, NotReady while it is loaded."""
        models: Models = request.state.models
        self.model, self.recogniser = models.speech()
        self._deadline: float = request.state.deadline

    async def hear(self, samples: Samples) -> Transcript:
        """Return what was said."""
        heard = await self.recogniser.hear(samples, self.compute, self.seconds)
        return await aside(heard.scores.nbytes, self.recogniser.read, heard)

    async def compute(self, inputs: Tensors) -> Tensors:
        """Have the model run."""
        return await self.model.batcher.submit(Call(DEFAULT_SIGNATURE, inputs), self._deadline)

    @property
    def seconds(self) -> float:
        """What is left of the request's time."""
        return self._deadline - time.monotonic()


async def asrt_speech(request: Request) -> Response:
    """Answer with the syllables of a recording."""
    return await _asrt(request, "speech level", lambda t: [syllable.name for syllable in t.syllables])


async def asrt_all(request: Request) -> Response:
    """Answer with the text of a recording."""
    return await _asrt(request, "all level", lambda t: t.text)


async def asrt_language(request: Request) -> Response:
    """Answer with the text for syllables."""
    body = await request.body()
    document = asrt.parse(body)
    with (ear := Ear(request)).model:
        try:
            text = await aside(len(body) << 6, ear.recogniser.write, asrt.pinyin(document))
        except InvalidRequest as error:
            return _json(asrt.encode("", str(error), asrt.SERVER_ERROR))
    return _json(asrt.encode(text, "language level"))


async def asrt_root(request: Request) -> Response:
    """Answer as ASRT does to any JSON; to the form of its old API with the text of the recording."""
    if request.headers.get("content-type", "").startswith("application/json"):
        return _json(asrt.encode("", "ok"))
    return await _form(request)


async def transcribe(request: Request) -> Response:
    """Answer with the text, the syllables, and their times, of a recording in WAV, FLAC, OGG or MP3, or of PCM."""
    samples = await _samples(request)
    with (ear := Ear(request)).model:
        transcript = await ear.hear(samples)
    answer = {
        "text": transcript.text,
        "words": _timed("text", transcript.words),
        "syllables": _timed("syllable", transcript.syllables),
        "seconds": round(len(samples) / RATE, 3),
    }
    return _json(orjson.dumps(answer))


async def stream_piece(request: Request) -> Response:
    """Answer with what became final with a piece of speech, and what may change yet."""
    sequence = request.headers.get(SEQUENCE, "")
    if not _NUMBER.fullmatch(sequence):
        raise InvalidRequest("the header Tfpod-Sequence must tell the piece's number")
    sessions: Sessions = request.state.sessions
    owner = owner_of(request.headers.get("authorization", "").encode("latin-1"))
    name = None if request.headers.get(SESSION) == "new" else request.cookies.get(COOKIE)
    old = await _load(sessions, name, owner)
    state = stream.load(old) if old else stream.State(int(sequence) - 1)
    if not stream.check(state, int(sequence)):
        return _json(state.answer)
    samples = await _samples(request, empty=True)
    with (ear := Ear(request)).model:
        after, said = await stream.add(ear.recogniser, state, samples, ear.compute, ear.seconds)
    after.answer = orjson.dumps(
        {
            "final": said.final,
            "partial": said.partial,
            "words": _timed("text", said.words),
            "syllables": _timed("syllable", said.syllables),
            "ended": after.ended,
        }
    )
    answer = _json(after.answer)
    if name is None or old is None:
        name = await sessions.create(owner, stream.dump(after))
        answer.set_cookie(COOKIE, name, path="/v1/stream", httponly=True, samesite="strict")
    elif not await sessions.replace(name, owner, old, stream.dump(after)):
        # Somebody else was faster; if it was with this very piece, his answer is the answer.
        state = stream.load(await sessions.load(name, owner))
        if stream.check(state, int(sequence)):
            raise InvalidRequest(f"piece {sequence} is answered twice at once")
        return _json(state.answer)
    return answer


async def _load(sessions: Sessions, name: str | None, owner: str) -> bytes | None:
    """Return the state of the session that the cookie names, None if there is no cookie. Raises NotFound."""
    if name is None:
        return None
    if not _SESSION.fullmatch(name):
        raise NotFound("the cookie names no session")
    return await sessions.load(name, owner)


async def _asrt(request: Request, level: str, result: Callable[[Transcript], str | list[str]]) -> Response:
    """Answer a recording; what is wrong with it is told in ASRT's way, HTTP 200 and a code."""
    body = await request.body()
    document = await aside(len(body), asrt.parse, body)
    try:
        recording = await aside(len(body), asrt.recording, document)
        samples = await aside(len(body), from_pcm, *recording)
    except InvalidRequest as error:
        return _json(asrt.encode("", str(error), asrt.SERVER_ERROR))
    with (ear := Ear(request)).model:
        return _json(asrt.encode(result(await ear.hear(samples)), level))


async def _form(request: Request) -> Response:
    """Answer ASRT's old API, which carries its token in the body."""
    body = await request.body()
    form = await aside(len(body), asrt.form, body)
    authorize: Callable[[bytes], None] = request.state.authorize
    try:
        authorize(f"Bearer {form.token}".encode())
    except (Unauthenticated, PermissionDenied):
        return PlainTextResponse("403", 403)
    request.state.arrived()
    samples = await aside(len(body), from_pcm, *form.recording)
    with (ear := Ear(request)).model:
        return PlainTextResponse((await ear.hear(samples)).text)


async def _samples(request: Request, *, empty: bool = False) -> Samples:
    """Return the samples of the body: a file, or PCM of 16 bits and 16 kHz if its type says so; or nothing at all."""
    body = await request.body()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in _PCM or (empty and not body):
        return await aside(len(body), from_pcm, body, RATE)
    return await aside(1 << 30, from_file, body, _LONGEST)


def _timed(name: str, sounds: list[Sound]) -> list[dict[str, object]]:
    return [{name: sound.name, "begin": round(sound.begin, 3), "end": round(sound.end, 3)} for sound in sounds]


def _json(body: bytes) -> Response:
    return Response(body, headers=http.JSON)
