"""Audio of every form becomes samples at 16 kHz, or is refused by name."""

import io
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from service.errors import InvalidRequest, TooLarge, UnsupportedMedia
from service.speech.audio import RATE, Samples, from_file, from_pcm
from tests.speech.spoken import decoded


def tone(seconds: float, rate: int = RATE, hertz: float = 440) -> Samples:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def pcm(samples: npt.NDArray[np.floating], width: int = 2) -> bytes:
    return (samples * (1 << 8 * width - 1)).astype(f"<i{width}").tobytes()


def file(samples: Samples, rate: int = RATE, form: str = "WAV", subtype: str | None = None) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, samples, rate, format=form, subtype=subtype)
    return target.getvalue()


def peak(samples: Samples) -> float:
    """Return the loudest frequency in Hz."""
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * RATE / len(samples))


@pytest.mark.parametrize("width", [2, 4])
def test_integers_become_numbers_up_to_one(width: int) -> None:
    data = np.array([0, -(1 << 8 * width - 1), (1 << 8 * width - 1) - 1, 1 << 8 * width - 2], f"<i{width}").tobytes()
    samples = from_pcm(data, RATE, width=width)
    assert samples.dtype == np.float32
    assert samples == pytest.approx([0, -1, 1, 0.5], abs=1e-4)


def test_two_channels_are_mixed() -> None:
    assert from_pcm(np.array([[100, 300], [0, -200]], "<i2").tobytes(), RATE, channels=2) * 32768 == pytest.approx(
        [200, -100]
    )


@pytest.mark.parametrize("rate", [4000, 8000, 16_000, 22_050, 44_100, 48_000, 192_000])
def test_any_rate_becomes_sixteen_thousand(rate: int) -> None:
    samples = from_pcm(pcm(tone(1, rate)), rate)
    assert len(samples) == pytest.approx(RATE, abs=2)
    assert peak(samples) == pytest.approx(440, abs=2)


def test_no_sample_is_beyond_one_although_it_was_clipped() -> None:
    square = np.sign(tone(0.1, 44_100))
    assert np.abs(from_pcm(pcm(square * 0.9999), 44_100)).max() <= 1


@pytest.mark.parametrize(
    ("data", "options", "fault"),
    [
        (b"\0\0", {"rate": 1}, "1 samples a second; 4000 to 192000 are taken"),
        (b"\0\0", {"rate": 10**9}, "1000000000 samples a second"),
        (b"\0\0", {"rate": -16000}, "-16000 samples a second"),
        (b"\0\0", {"rate": RATE, "channels": 0}, "0 channels; 1 or 2"),
        (b"\0\0", {"rate": RATE, "channels": 3}, "3 channels"),
        (b"\0\0", {"rate": RATE, "width": 3}, "3 bytes a sample; 2 or 4"),
        (b"\0\0\0", {"rate": RATE}, "3 bytes are no whole number of samples of 2 bytes"),
        (b"\0\0", {"rate": RATE, "channels": 2}, "2 bytes are no whole number of samples of 4 bytes"),
        (b"", {"rate": 7}, "7 samples a second"),
    ],
)
def test_pcm_that_cannot_be_is_refused(data: bytes, options: dict[str, int], fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        from_pcm(data, **options)


def test_nothing_and_one_sample_are_audio() -> None:
    assert len(from_pcm(b"", 8000)) == 0
    assert len(from_pcm(b"\0\0", RATE)) == 1
    assert len(decoded(file(np.zeros(0, np.float32)), 60)) == 0


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_files_are_read(form: str) -> None:
    samples = decoded(file(tone(2, 44_100), 44_100, form), 60)
    assert len(samples) == pytest.approx(2 * RATE, rel=0.05)
    assert peak(samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW"])
def test_wav_files_are_read_whatever_is_in_them(subtype: str) -> None:
    assert peak(decoded(file(tone(1), subtype=subtype), 60)) == pytest.approx(440, abs=2)


def test_channels_of_a_file_are_mixed() -> None:
    both = np.stack([tone(1), np.zeros(RATE, np.float32)], axis=1)
    assert np.abs(decoded(file(both), 60)).max() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("claimed", [0, 100, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_that_lies_about_its_length_is_read_as_far_as_it_goes(claimed: int) -> None:
    data = bytearray(file(tone(1)))
    place = data.index(b"data") + 4
    data[place : place + 4] = claimed.to_bytes(4, "little")
    assert len(decoded(bytes(data), 60)) <= RATE


def flac(seconds: float, claimed: int) -> bytes:
    """Return a FLAC that says how many samples it has: by the last 36 bits before its checksum."""
    data = bytearray(file(tone(seconds), form="FLAC"))
    data[21:26] = (data[21] >> 4 << 36 | claimed).to_bytes(5)
    return bytes(data)


@pytest.mark.parametrize("claimed", [0, 10**10])
def test_a_flac_whose_length_nobody_knew_is_read_to_its_end(claimed: int) -> None:
    """As an encoder writes it into a pipe."""
    assert len(decoded(flac(20, claimed), 60)) == 20 * RATE


@pytest.mark.parametrize("tail", [b"TAG" + b"title" * 25, b"APETAGEX" + bytes(24), bytes(128), b"\0", b"what" * 1000])
@pytest.mark.parametrize("samples", [3 * RATE, 1 << 18, 20 * RATE], ids=["less than a part", "a part", "more"])
def test_what_is_behind_a_flac_is_not_read(samples: int, tail: bytes) -> None:
    data = file(tone(samples / RATE), form="FLAC")
    heard = decoded(data + tail, 60)
    assert len(heard) == samples
    assert np.array_equal(heard, decoded(data, 60))


def test_a_flac_that_lies_about_its_length_is_read_as_far_as_that_or_refused() -> None:
    assert len(decoded(flac(3, 1000), 60)) == 1000
    with pytest.raises(InvalidRequest, match="the audio cannot be read"):
        decoded(flac(3, 4 * RATE) + b"TAG" + b"title" * 25, 60)


def test_numbers_that_are_none_are_silence() -> None:
    samples = tone(0.1)
    samples[3], samples[5], samples[7] = np.nan, np.inf, -np.inf
    assert np.isfinite(decoded(file(samples, subtype="FLOAT"), 60)).all()


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"hello, world, here I am", b"RIFF\0\0\0\0AVI LIST", b"FORM\0\0\0\0AIFF", b"<html>"]
)
def test_what_is_no_audio_is_not_even_tried(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="WAV, FLAC, OGG or MP3"):
        decoded(data, 60)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_broken_file_is_refused_or_read_as_far_as_it_goes(form: str) -> None:
    whole = file(tone(1, 44_100), 44_100, form)
    random = np.random.default_rng(7)
    for _ in range(40):
        broken = bytearray(whole[: random.integers(12, len(whole))])
        for place in random.integers(4, len(broken), 4):
            broken[place] = random.integers(256)
        try:
            samples = decoded(bytes(broken), 2)
        except InvalidRequest:
            continue
        assert len(samples) <= 2 * RATE + 1
        assert np.isfinite(samples).all()


def test_hours_in_a_small_file_are_refused_without_being_read() -> None:
    silence = file(np.zeros(600 * 8000, np.float32), 8000, "FLAC")
    assert len(silence) < 100_000
    with pytest.raises(TooLarge, match="longer than 60 s"):
        decoded(silence, 60)
    assert len(decoded(silence, 600)) == 600 * RATE


def test_samples_come_in_parts() -> None:
    whole = tone(60)
    lengths = [len(samples) for samples in from_file(file(whole), 60)]
    assert len(lengths) > 3
    assert lengths == sorted(lengths)
    assert lengths[-1] == len(whole)


@pytest.mark.parametrize(("seconds", "rate"), [(600, RATE), (20, 192_000)])
def test_decoding_needs_little_more_memory_than_what_comes_of_it(seconds: int, rate: int) -> None:
    """A small file may hold hours, twelve times the samples of what comes of it, and twice that in channels."""
    silence = file(np.zeros((seconds * rate, 2), np.float32), rate, "FLAC")
    decoded(silence, 600)  # what is imported by that does not count
    tracemalloc.start()
    samples = decoded(silence, 600)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(samples) == seconds * RATE
    assert peak < 1.1 * samples.nbytes + (8 << 20)


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_a_file_that_is_read_in_parts_sounds_as_in_one_piece(rate: int) -> None:
    samples = tone(40, rate)
    whole, parts = from_pcm(pcm(samples), rate), decoded(file(samples, rate), 60)
    assert len(whole) == len(parts)
    assert np.abs(whole - parts).max() < 1e-3


def test_files_of_many_channels_or_strange_rates_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="3 channels"):
        decoded(file(np.zeros((100, 3), np.float32)), 60)
    with pytest.raises(InvalidRequest, match="1000 samples a second"):
        decoded(file(tone(1, 1000, 50), 1000), 60)
