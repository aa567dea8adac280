"""Speech that comes in pieces: what of it is final, and what of it may yet be heard otherwise.

What is final ends in a pause; only what comes after it, and a second before it for its sound, is kept and heard again
with the next piece. So neither the state nor the work for a piece grows with the length of the speech.
"""

from typing import Final, NamedTuple

import msgspec
import numpy as np

from service.errors import InvalidRequest
from service.speech import cut
from service.speech.audio import RATE, Samples
from service.speech.recogniser import Compute, Recogniser, Sound

#: A pause lasts so long at least, in seconds, and in it there is no more than this share of the mean power.
_PAUSE: Final = 0.4
_QUIET: Final = 0.05
_SCALE: Final = 1 << 15


class State(msgspec.Struct, array_like=True):
    """What is kept between two pieces."""

    #: The number of the last piece, and the answer to it, which one who asks again is given again.
    sequence: int
    answer: bytes = b""
    #: The samples that count yet, as 16-bit integers; `heard` of them are before what is not final.
    samples: bytes = b""
    heard: int = 0
    #: How many samples there were before these.
    before: int = 0
    ended: bool = False


class Said(NamedTuple):
    """What became final with a piece, what may change yet, and the sounds of both with their seconds since the begin."""

    final: str
    partial: str
    words: list[Sound]
    syllables: list[Sound]


_decoder: Final = msgspec.msgpack.Decoder(State)


def load(state: bytes) -> State:
    """Return a state that `dump` wrote."""
    return _decoder.decode(state)


def dump(state: State) -> bytes:
    """Return the state as bytes."""
    return msgspec.msgpack.encode(state)


def check(state: State, sequence: int) -> bool:
    """Return False if piece `sequence` has been answered. Raises InvalidRequest if it is not the next one."""
    if sequence == state.sequence:
        return False
    if state.ended:
        raise InvalidRequest(f"piece {sequence} comes after the end: the session ended with piece {state.sequence}")
    if sequence != state.sequence + 1:
        raise InvalidRequest(f"piece {sequence} is out of order: {state.sequence + 1} is next")
    return True


async def add(
    recogniser: Recogniser, state: State, piece: Samples, compute: Compute, seconds: float
) -> tuple[State, Said]:
    """Hear a piece, and return the next state and what was said; an empty piece ends the speech.

    Raises what Recogniser.hear raises; then nothing has changed.
    """
    samples = np.concatenate([np.frombuffer(state.samples, "<i2").astype(np.float32) / _SCALE, piece])
    heard = await recogniser.hear(samples, compute, seconds)
    fresh = heard.between(state.heard / RATE, len(samples) / RATE)
    ended = not len(piece)
    stop = len(samples) if ended else pause(samples, recogniser.read(fresh).syllables, state.heard)
    parts = [recogniser.read(part) for part in (fresh.between(0, stop / RATE), fresh.between(stop / RATE, np.inf))]
    words = _since(state.before / RATE, [word for part in parts for word in part.words])
    syllables = _since(state.before / RATE, [syllable for part in parts for syllable in part.syllables])
    kept = len(samples) if ended else max(0, stop - cut.MARGIN)
    after = State(
        sequence=state.sequence + 1,
        samples=np.rint(samples[kept:] * (_SCALE - 1)).astype("<i2").tobytes(),
        heard=stop - kept,
        before=state.before + kept,
        ended=ended,
    )
    return after, Said(parts[0].text, parts[1].text, words, syllables)


def pause(samples: Samples, syllables: list[Sound], heard: int) -> int:
    """Return the sample in the last pause that enough follows.

    Without a pause that is `heard`, until there is too much: then it is where the last syllable ends.
    """
    latest = len(samples) - cut.MARGIN
    loudness = float(np.square(samples).mean()) if len(samples) else 0.0
    begins = [heard, *(round(sound.end * RATE) for sound in syllables)]
    ends = [*(round(sound.begin * RATE) for sound in syllables), len(samples)]
    for begin, end in reversed(list(zip(begins, ends, strict=True))):
        stop = min(end, latest)
        if stop - begin < _PAUSE * RATE:
            continue
        place = begin + cut.quietest(samples[begin:stop])
        around = samples[max(0, place - RATE // 10) : place + RATE // 10]
        if float(np.square(around).mean()) <= _QUIET * loudness:
            return place
    if latest - heard <= cut.FARTHEST:
        return heard
    return max((begin for begin in begins if begin <= latest), default=heard)


def _since(begin: float, sounds: list[Sound]) -> list[Sound]:
    return [Sound(sound.name, sound.begin + begin, sound.end + begin) for sound in sounds]
