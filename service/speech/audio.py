"""Reads audio: PCM as clients send it, and files in WAV, FLAC, OGG or MP3, as samples for a recogniser.

The files' formats and the rates are the business of libsndfile and libsoxr; only the four formats reach libsndfile.
Below it, libmpg123 tells on stderr what is broken in an MP3, amid the log, and nothing here can keep it from that.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.errors import InvalidRequest, TooLarge
from service.speech.tracks import tracks

#: Samples, FP32 in -1..1, one channel, so many a second.
Samples = npt.NDArray[np.float32]
RATE: Final = 16_000

#: Rates at which speech is recorded, in Hz.
LOWEST_RATE, HIGHEST_RATE = 4_000, 192_000
#: Samples of a file that are read at once.
_PART: Final = 1 << 18
_WIDTHS: Final[dict[int, np.dtype[np.signedinteger[Any]]]] = {2: np.dtype("<i2"), 4: np.dtype("<i4")}


def from_pcm(data: bytes, rate: int, channels: int = 1, width: int = 2) -> Samples:
    """Return the samples of little-endian signed integers, `width` bytes each, the channels side by side.

    Raises InvalidRequest for a rate outside 4,000 to 192,000 Hz, other than 1 or 2 channels, a width other than 2 or 4,
    and for data that ends amid a sample.
    """
    if channels not in (1, 2):
        raise InvalidRequest(f"{channels} channels; 1 or 2 are taken")
    if width not in _WIDTHS:
        raise InvalidRequest(f"{width} bytes a sample; 2 or 4 are taken")
    if len(data) % (width * channels):
        raise InvalidRequest(f"{len(data)} bytes are no whole number of samples of {width * channels} bytes")
    _check_rate(rate)
    integers = np.frombuffer(data, _WIDTHS[width]).reshape(-1, channels)
    scale = np.float32(1 / (1 << 8 * width - 1))
    samples = integers.mean(axis=1, dtype=np.float32) * scale
    samples = _resampler(rate)(samples, True)
    return np.clip(samples, -1, 1, out=samples)


def from_file(data: bytes, longest: float) -> Iterator[Samples]:
    """Yield the samples of a file in WAV, FLAC, OGG or MP3, whatever it says of its own length.

    They are one array, which grows by a part each time until all tracks are in it. Raises UnsupportedMedia for what is
    none of these, InvalidRequest for one that cannot be read to its end, TooLarge for more than `longest` seconds: a
    small file may hold hours.
    """
    import soundfile  # noqa: PLC0415 - only pods that serve speech need it

    samples = np.zeros(0, np.float32)
    try:
        for track in tracks(data):
            with soundfile.SoundFile(track) as file:
                for part in _parts(file):
                    heard = len(samples)
                    if heard + len(part) > longest * RATE + 1:
                        raise TooLarge(f"the audio is longer than {longest:.0f} s")
                    samples.resize(heard + len(part), refcheck=False)  # in place: an hour is 220 MiB
                    np.clip(part, -1, 1, out=samples[heard:])
                    yield samples
    except soundfile.LibsndfileError as error:
        raise InvalidRequest(f"the audio cannot be read: {error.error_string}") from None


def _parts(file: Any) -> Iterator[Samples]:
    """Yield what is in a track in parts; see from_file.

    Whatever the length in its header, and however many samples more than ours it has, no more of them are in memory.
    """
    _check_rate(file.samplerate)
    if file.channels not in (1, 2):
        raise InvalidRequest(f"{file.channels} channels; 1 or 2 are taken")
    file.seekable = lambda: False  # no part needs it, and a FLAC that was written into a pipe cannot be sought in
    resample, left, ended = _resampler(file.samplerate), file.frames, False
    while not ended:  # beyond the samples that it tells of, a FLAC's tags would be taken for broken ones
        samples = file.read(min(_PART, left), dtype="float32", always_2d=True)
        left -= len(samples)
        ended = len(samples) < _PART or not left
        yield resample(np.nan_to_num(samples.mean(axis=1), posinf=0, neginf=0), ended)


def _resampler(rate: int) -> Callable[[Samples, bool], Samples]:
    """Return what brings parts to 16 kHz, told of each whether it is the last."""
    if rate == RATE:
        return lambda samples, _: samples
    import soxr  # noqa: PLC0415 - only pods that are sent other rates need it

    stream: Any = soxr.ResampleStream(rate, RATE, 1)
    made: Callable[[Samples, bool], Samples] = stream.resample_chunk
    return made


def _check_rate(rate: int) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InvalidRequest(f"{rate} samples a second; {LOWEST_RATE} to {HIGHEST_RATE} are taken")
