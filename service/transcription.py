"""Speech over HTTP: ASRT's API, whole recordings, and speech that comes in pieces."""

import asyncio
import math
import re
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

import numpy as np
import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from service.codecs import asrt, http
from service.door.bodies import aside
from service.errors import InvalidRequest, NotFound, NotSupported
from service.models.models import Models
from service.sessions import Sessions
from service.speech import stream
from service.speech.audio import RATE, Samples, from_file, from_pcm
from service.speech.recogniser import Heard, Transcript
from service.types import DEFAULT_SIGNATURE, Call, Tensors

SEQUENCE: Final = "tfpod-sequence"
COOKIE: Final = "tfpod_session"
#: With the value `new` a piece begins a session whatever its cookie says, which a browser sends along unasked.
SESSION: Final = "tfpod-session"

#: The routes whose audio may be too long for one request.
WHOLE: Final = frozenset({"transcribe", "asrt_speech", "asrt_all", "asrt_root"})

#: The longest recording in one request, in seconds, and where nobody knows yet what can be done in time.
_LONGEST, _UNKNOWN = 3600.0, 600.0
#: The bytes to read that take as long as a syllable to write.
_WRITTEN: Final = 8 << 10
_SESSION: Final = re.compile(r"[0-9a-f]{32}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_FORM: Final = "application/x-www-form-urlencoded"
_PCM: Final = ("application/octet-stream", "audio/pcm")


class Ear:
    """The recogniser of a request, which has until its deadline. Use it as a context, as its model."""

    def __init__(self, request: Request) -> None:
        """Take the model of speech that the query names, or the first. Raises as Models.speech does."""
        models: Models = request.state.models
        self.model, self.recogniser = models.speech(request.query_params.get("model"))
        self._deadline: float = request.state.deadline
        self._take: Callable[[int], None] = request.state.take
        self._decoder: Executor = request.state.decoder

    async def pcm(self, recording: asrt.Recording) -> Samples:
        """Return the samples of a recording. Raises what from_pcm does, and Overloaded if there is no room for them."""
        samples = await aside(len(recording.data), from_pcm, *recording)
        self._take(samples.nbytes)
        return samples

    async def file(self, body: bytes) -> Samples:
        """Return the samples of a file, of which no more is decoded than can be heard. Raises as `pcm` does.

        Its parts take turns with those of other files; none is decoded for a request that is over.
        """
        able, samples, taken = self.recogniser.longest(self.seconds), np.zeros(0, np.float32), 0
        parts = from_file(body, min(able, _LONGEST) if able < math.inf else _UNKNOWN)
        decode = asyncio.get_running_loop().run_in_executor
        while (grown := await decode(self._decoder, next, parts, None)) is not None:
            samples = grown
            self._take(samples.nbytes - taken)
            taken = samples.nbytes
        return samples

    async def score(self, samples: Samples) -> Heard:
        """Return what the model says of the samples."""
        return await self.recogniser.hear(samples, self._compute, self.seconds)

    async def hear(self, samples: Samples) -> Transcript:
        """Return what was said."""
        heard = await self.score(samples)
        return await aside(heard.scores.nbytes, self.recogniser.read, heard)

    @property
    def seconds(self) -> float:
        """What is left of the request's time."""
        return self._deadline - time.monotonic()

    async def _compute(self, inputs: Tensors) -> Tensors:
        return await self.model.batcher.submit(Call(DEFAULT_SIGNATURE, inputs), self._deadline)


async def asrt_speech(request: Request) -> Response:
    """Answer with the syllables of a recording."""
    return await _asrt(request, "speech level", lambda t: [syllable.name for syllable in t.syllables])


async def asrt_all(request: Request) -> Response:
    """Answer with the text of a recording."""
    return await _asrt(request, "all level", lambda t: t.text)


async def asrt_language(request: Request) -> Response:
    """Answer with the text for syllables."""
    with (ear := Ear(request)).model:
        body = await request.body()
        document = await aside(len(body), asrt.parse, body)
        try:
            syllables = await aside(len(body), asrt.pinyin, document)
            text = await aside(len(syllables) * _WRITTEN, ear.recogniser.write, syllables)
        except InvalidRequest as error:
            return _json(asrt.encode("", str(error), asrt.SERVER_ERROR))
    return _json(asrt.encode(text, "language level"))


async def asrt_root(request: Request) -> Response:
    """Answer as ASRT does to anything; to the form of its old API, which carries its token, with a recording's text."""
    if not request.headers.get("content-type", "").lower().startswith(_FORM):
        return _json(asrt.encode("", "ok"))
    body = await request.body()
    token = await aside(len(body), asrt.token, body)
    request.state.authorize(f"Bearer {token}".encode())
    request.state.arrived()
    recording = await aside(len(body), asrt.form, body)
    with (ear := Ear(request)).model:
        return PlainTextResponse((await ear.hear(await ear.pcm(recording))).text)


async def transcribe(request: Request) -> Response:
    """Answer with the text, the syllables, and their times, of a recording in WAV, FLAC, OGG or MP3, or of PCM."""
    with (ear := Ear(request)).model:
        samples = await _samples(request, ear)
        transcript = await ear.hear(samples)
    fields = {"text": transcript.text, "seconds": round(len(samples) / RATE, 3)}
    return _json(await aside(samples.nbytes, _told, fields, transcript))


async def stream_piece(request: Request) -> Response:
    """Answer with what became final with a piece of speech, and what may change yet."""
    sequence = request.headers.get(SEQUENCE, "")
    if not _NUMBER.fullmatch(sequence):
        raise InvalidRequest("the header Tfpod-Sequence must tell the piece's number")
    sessions: Sessions | None = request.state.sessions
    if sessions is None:
        raise NotSupported("this pod keeps no sessions")
    owner: str = request.state.owner(request.state.headers.get(b"authorization", b""))
    name = None if request.headers.get(SESSION) == "new" else request.cookies.get(COOKIE)
    old = await _load(sessions, name, owner)
    state = stream.load(old) if old else stream.begun(int(sequence))
    if not stream.check(state, int(sequence)):
        return _json(state.answer)
    if old is None:
        await sessions.check(owner)
    after = await _heard(request, state)
    answer = _json(after.answer)
    if name is None or old is None:
        name = await sessions.create(owner, stream.dump(after))
        # Without a path it is sent along to where it came from, behind a path of an ingress too.
        answer.set_cookie(COOKIE, name, path=None, httponly=True, samesite="strict")
    elif not await sessions.replace(name, owner, old, stream.dump(after), last=after.ended):
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


async def _heard(request: Request, state: stream.State) -> stream.State:
    """Return the state after the piece in the body, its answer in it; an empty body ends the session."""
    ended = not await request.body()
    with (ear := Ear(request)).model:
        pieces = [] if ended else [await _samples(request, ear)]
        size = 2 * len(state.samples) + sum(piece.nbytes for piece in pieces)
        request.state.take(size)
        samples = await aside(size, stream.pending, state, *pieces)
        heard = await ear.score(samples)
        after, said = await aside(heard.scores.nbytes, stream.add, ear.recogniser, state, samples, heard, ended)
    after.answer = await aside(size, _told, {"final": said.final, "partial": said.partial, "ended": ended}, said)
    return after


async def _asrt(request: Request, level: str, result: Callable[[Transcript], str | list[str]]) -> Response:
    """Answer a recording; what is wrong with it is told in ASRT's way, HTTP 200 and a code."""
    with (ear := Ear(request)).model:
        body = await request.body()
        document = await aside(len(body), asrt.parse, body)
        try:
            samples = await ear.pcm(await aside(len(body), asrt.recording, document))
        except InvalidRequest as error:
            return _json(asrt.encode("", str(error), asrt.SERVER_ERROR))
        return _json(asrt.encode(result(await ear.hear(samples)), level))


async def _samples(request: Request, ear: Ear) -> Samples:
    """Return the samples of the body: a file, or PCM of 16 bits and 16 kHz if its type says so."""
    body = await request.body()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return await (ear.pcm(asrt.Recording(body, RATE)) if media_type in _PCM else ear.file(body))


def _told(fields: dict[str, object], said: Transcript | stream.Said) -> bytes:
    """Return an answer with the lists of {"text" or "syllable", "begin", "end"}, in seconds."""
    named = {"words": ("text", said.words), "syllables": ("syllable", said.syllables)}
    lists = {
        plural: [{name: each.name, "begin": round(each.begin, 3), "end": round(each.end, 3)} for each in sounds]
        for plural, (name, sounds) in named.items()
    }
    return orjson.dumps(fields | lists)


def _json(body: bytes) -> Response:
    return Response(body, headers=http.JSON)
