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
from service.speech.recogniser import Heard, Recogniser, Sound

#: A pause lasts so long at least, in seconds, and in it there is no more than this share of the mean power.
_PAUSE: Final = 0.4
_QUIET: Final = 0.05
#: In so many seconds without a syllable there is no speech, however loud it is.
_LONG: Final = 1.5
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
    """What became final with a piece, what may change yet, and both's sounds with their seconds since the begin."""

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


def begun(sequence: int) -> State:
    """Return the state before the first piece. Raises InvalidRequest if `sequence` is a later one's."""
    if sequence > 1:
        raise InvalidRequest(
            f"piece {sequence} comes without the cookie of its session; a first piece is number 0 or 1"
        )
    return State(sequence - 1)


def check(state: State, sequence: int) -> bool:
    """Return False if piece `sequence` has been answered. Raises InvalidRequest if it is not the next one."""
    if sequence == state.sequence:
        return False
    if state.ended:
        raise InvalidRequest(f"piece {sequence} comes after the end: the session ended with piece {state.sequence}")
    if sequence != state.sequence + 1:
        raise InvalidRequest(f"piece {sequence} is out of order: {state.sequence + 1} is next")
    return True


def pending(state: State, *pieces: Samples) -> Samples:
    """Return what is to be heard: what is not final yet, with what comes before it for its sound, and the pieces."""
    return np.concatenate([np.frombuffer(state.samples, "<i2").astype(np.float32) / _SCALE, *pieces])


def add(recogniser: Recogniser, state: State, samples: Samples, heard: Heard, ended: bool) -> tuple[State, Said]:
    """Return the next state and what was said; `samples` were pending, and `heard` is what the model says of them.

    When the speech has ended, all of it is final.
    """
    fresh = heard.between(state.heard / RATE, np.inf)
    stop = len(samples) if ended else pause(samples, recogniser.syllables(fresh), state.heard)
    parts = [recogniser.read(part) for part in (fresh.between(0, stop / RATE), fresh.between(stop / RATE, np.inf))]
    words = _since(state.before / RATE, [word for part in parts for word in part.words])
    syllables = _since(state.before / RATE, [syllable for part in parts for syllable in part.syllables])
    kept = len(samples) if ended else max(0, stop - cut.MARGIN)
    after = State(
        sequence=state.sequence + 1,
        samples=np.clip(np.rint(samples[kept:] * _SCALE), -_SCALE, _SCALE - 1).astype("<i2").tobytes(),
        heard=stop - kept,
        before=state.before + kept,
        ended=ended,
    )
    return after, Said(parts[0].text, parts[1].text, words, syllables)


def pause(samples: Samples, syllables: list[Sound], heard: int) -> int:
    """Return the sample in the last pause that enough follows: a long one, or one in which it is quiet.

    Without a pause that is `heard`, until there is too much: then it is between the last two syllables, or anywhere.
    """
    latest = len(samples) - cut.MARGIN
    loudness = float(np.square(samples).mean()) if len(samples) else 0.0
    begins = [heard, *(round(sound.end * RATE) for sound in syllables)]
    ends = [*(round(sound.begin * RATE) for sound in syllables), len(samples)]
    for begin, end in reversed(list(zip(begins, ends, strict=True))):
        stop = min(end, latest)
        if stop - begin < _PAUSE * RATE:
            continue
        start = max(begin, stop - cut.SHORTEST // 2)  # near what is kept: the end of an hour's silence
        place = start + cut.quietest(samples[start:stop])
        around = samples[max(0, place - RATE // 10) : place + RATE // 10]
        if stop - begin >= _LONG * RATE or float(np.square(around).mean()) <= _QUIET * loudness:
            return place
    if latest - heard <= cut.FARTHEST:
        return heard
    return max(latest - cut.FARTHEST, *(begin for begin in begins if begin <= latest))


def _since(begin: float, sounds: list[Sound]) -> list[Sound]:
    return [Sound(sound.name, sound.begin + begin, sound.end + begin) for sound in sounds]
