"""All tracks of a file are found, and every one is heard to its end."""

import io
from typing import Any

import numpy as np
import pytest
import soundfile

from service.errors import UnsupportedMedia
from service.speech.audio import RATE, Samples
from service.speech.tracks import tracks
from tests.speech.spoken import decoded

#: Tags around MP3s, and what else may stand behind them.
ID3 = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
ID3V1 = b"TAG" + b"title" * 25
APE = b"APETAGEX" + (2000).to_bytes(4, "little") + (3000).to_bytes(4, "little") + bytes(16) + b"cover" * 600
LYRICS = b"LYRICSBEGIN" + b"[00:00]la la la\r\n" * 150 + b"002561LYRICS200"
XMP = b"<?xpacket begin=''?>" + b" " * 4000 + b"<?xpacket end='w'?>"


def tone(seconds: float, hertz: float, rate: int = RATE) -> Samples:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def encoded(form: str, seconds: float, hertz: float, rate: int = RATE, subtype: str | None = None, **how: Any) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, tone(seconds, hertz, rate), rate, format=form, subtype=subtype, **how)
    return target.getvalue()


def untold(data: bytes) -> bytes:
    """Return an MP3 without its first frame, which tells how many there are."""
    return data[data.index(data[:2], 2) :]


def pitches(samples: Samples) -> list[int]:
    """Return the loudest frequency of each whole second, in Hz."""
    whole = samples[: len(samples) // RATE * RATE].reshape(-1, RATE)
    return [int(pitch) for pitch in np.abs(np.fft.rfft(whole)).argmax(axis=1)]


@pytest.mark.parametrize(("form", "subtype"), [("MP3", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS")])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_tracks_are_heard_one_after_the_other(form: str, subtype: str | None, rate: int) -> None:
    """Cut from a recording, or added to it, even at another rate."""
    one, two = encoded(form, 3, 500, subtype=subtype), encoded(form, 2, 700, rate, subtype)
    assert pitches(decoded(one + two + one, 60)) == [500] * 3 + [700] * 2 + [500] * 3


@pytest.mark.parametrize("between", [ID3, ID3V1, APE + ID3V1, ID3V1 + ID3 + ID3])
@pytest.mark.parametrize("form", ["MP3", "FLAC"])
def test_tags_stand_before_between_and_behind_tracks(form: str, between: bytes) -> None:
    one, two = encoded(form, 2, 500), encoded(form, 2, 700)
    samples = decoded(ID3 + one + between + two + APE + ID3V1, 60)
    assert pitches(samples) == [500] * 2 + [700] * 2
    assert len(samples) == 4 * RATE


@pytest.mark.parametrize("tail", [b"", ID3V1, bytes(5000)], ids=["nothing", "a tag", "zeros"])
def test_an_mp3_that_does_not_tell_its_length_is_heard_to_its_end(tail: bytes) -> None:
    """Its first seconds take many times the bytes of what follows, and its first frame told how many there are."""
    target, random = io.BytesIO(), np.random.default_rng(0)
    with soundfile.SoundFile(
        target, "w", RATE, 1, format="MP3", compression_level=0.5, bitrate_mode="VARIABLE"
    ) as whole:
        whole.write(np.concatenate([random.uniform(-0.5, 0.5, 5 * RATE), tone(15, 500)]))
    data = untold(target.getvalue())
    samples = decoded(data + tail, 60)
    assert len(samples) == pytest.approx(20 * RATE, abs=0.2 * RATE)
    assert pitches(samples[6 * RATE :])[:13] == [500] * 13
    assert len(decoded(data[: len(data) * 9 // 10], 60)) > 15 * RATE, "its last frame is broken"


@pytest.mark.parametrize(("first", "second"), [(44_100, 16_000), (16_000, 44_100), (48_000, 32_000), (8_000, 48_000)])
def test_an_mp3_is_heard_behind_one_of_another_rate_that_does_not_tell_its_length(first: int, second: int) -> None:
    for mode in ("VARIABLE", "CONSTANT"):
        one = encoded("MP3", 3, 500, first, bitrate_mode=mode, compression_level=0.9)
        two = encoded("MP3", 2, 700, second, bitrate_mode=mode, compression_level=0.9)
        for data in (one + two, untold(one) + two, one + untold(two), untold(one) + untold(two)):
            assert pitches(decoded(data, 60)) == [500] * 3 + [700] * 2


def test_an_mp3_is_heard_to_its_end_although_it_tells_of_fewer_frames() -> None:
    data = bytearray(encoded("MP3", 3, 500))
    place = data.index(b"Xing") + 8
    data[place : place + 4] = (50).to_bytes(4)
    assert len(decoded(bytes(data), 60)) == pytest.approx(3 * RATE, abs=0.2 * RATE)


def test_an_mp3_that_was_cut_off_is_heard_as_far_as_it_goes() -> None:
    data = encoded("MP3", 3, 500)
    for end in range(len(data) - 300, len(data) - 200, 7):
        assert len(decoded(data[:end], 60)) == pytest.approx(3 * RATE, abs=0.2 * RATE)


@pytest.mark.parametrize(
    "tail",
    [b"", ID3V1, LYRICS, LYRICS + ID3V1, XMP, APE, bytes(5000), b"\xff" * 3000, b"\xff\xfb\x90\x64" * 1000],
    ids=["nothing", "ID3v1", "Lyrics3", "Lyrics3 and ID3v1", "XMP", "APE", "zeros", "ones", "heads of frames"],
)
def test_what_is_no_audio_behind_an_mp3_is_passed_over_in_silence(
    tail: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a broken MP3, libmpg123 tells on stderr; these are whole."""
    one, two = encoded("MP3", 3, 500), encoded("MP3", 2, 700)
    assert b"Xing" in one[:100]
    for first in (one, untold(one)):
        heard = len(decoded(first, 60))
        assert len(decoded(first + tail, 60)) == heard
        assert pitches(decoded(first + tail + two + tail, 60)) == [500] * 3 + [700] * 2
    assert capfd.readouterr() == ("", "")


def test_an_mp3_is_heard_before_and_behind_what_was_damaged() -> None:
    one, two = untold(encoded("MP3", 3, 500)), untold(encoded("MP3", 3, 700))
    data = (one + two)[: len(one) - 600] + bytes(3000) + two[600:]
    assert {500, 700} <= set(pitches(decoded(data, 60)))


def test_frames_of_another_layer_are_heard() -> None:
    frame = b"\xff\xfd\x84\xc4" + bytes(379) + b"\1"  # of layer II, 48 kHz and 128 kbit/s
    assert len(decoded(frame * 50 + bytes(5000), 60)) == 50 * 1152 // 3


def test_streams_of_an_ogg_that_go_side_by_side_are_one_track() -> None:
    page = b"OggS\0\2" + bytes(20) + b"\1\3abc"
    later = b"OggS\0\0" + bytes(20) + b"\2\1\2abc"
    assert [each.read() for each in tracks((page * 2 + later) * 2)] == [page * 2 + later] * 2
    assert [each.read() for each in tracks(page + later + page[:26])] == [page + later, page[:26]]
    assert [each.read() for each in tracks(later + page)] == [later + page], "an OGG without its begin is no chain"


@pytest.mark.parametrize("form", ["AIFF", "AU"])
def test_what_is_behind_a_tag_has_one_of_the_four_forms_too(form: str) -> None:
    assert len(decoded(ID3 + encoded("FLAC", 1, 500), 60)) == RATE
    with pytest.raises(UnsupportedMedia, match="WAV, FLAC, OGG or MP3"):
        decoded(ID3 + encoded(form, 1, 500), 60)


@pytest.mark.parametrize("data", [b"ID3", b"ID3\4\0\x10\0\0\0\0", b"TAG", b"APETAGEX", ID3 * 3, ID3[:9] + b"\x7f"])
def test_tags_alone_are_no_audio(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        next(tracks(data))
