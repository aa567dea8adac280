"""models/speech/augment.py: what is done to recordings has the strength it says."""

import numpy as np
import pytest

from models.speech import augment

RATE = 16000


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(3)


def tone(hertz: float, seconds: float = 1.0) -> augment.Floats:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def pitch(samples: augment.Floats) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples))


def power(samples: augment.Floats) -> float:
    return float(np.mean(samples.astype(np.float64) ** 2))


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.25])
def test_speed_changes_length_and_pitch_alike(speed: float) -> None:
    faster = augment.at_speed(tone(500), speed)
    assert len(faster) == pytest.approx(RATE / speed, abs=2)
    assert pitch(faster) == pytest.approx(500 * speed, rel=0.01)


@pytest.mark.parametrize(("colour", "slope"), [("white", 0), ("pink", -3), ("brown", -6)])
def test_a_noise_falls_by_its_decibels_an_octave(colour: str, slope: float, random: np.random.Generator) -> None:
    spectrum = np.abs(np.fft.rfft(augment.noise(colour, 1 << 18, random))) ** 2
    low, high = (spectrum[start : 2 * start].mean() for start in (1 << 10, 1 << 15))
    assert 10 * np.log10(high / low) / 5 == pytest.approx(slope, abs=0.3)


@pytest.mark.parametrize("decibels", [-5, 0, 20])
def test_a_noise_is_as_much_softer_as_was_asked(decibels: float, random: np.random.Generator) -> None:
    speech = tone(300) * 0.2
    added = augment.mixed(speech, augment.noise("white", len(speech), random), decibels) - speech
    assert 10 * np.log10(power(speech) / power(added)) == pytest.approx(decibels, abs=0.01)


def test_silence_is_mixed_without_harm(random: np.random.Generator) -> None:
    silence = np.zeros(100, np.float32)
    assert not augment.mixed(silence, augment.noise("pink", 100, random), 10).any()
    assert np.array_equal(augment.mixed(tone(300), np.zeros(RATE, np.float32), 10), tone(300))


def test_babble_is_as_long_as_needed_whatever_the_voices(random: np.random.Generator) -> None:
    voices = [tone(200, 0.3), tone(900, 2)]
    assert len(augment.babble(voices, RATE, random)) == RATE
    assert np.abs(np.fft.rfft(augment.babble(voices, RATE, random)))[[200, 900]].min() > 100


def test_a_room_rings_after_the_sound_and_keeps_its_beginning(random: np.random.Generator) -> None:
    click = np.zeros(RATE, np.float32)
    click[100] = 1
    heard = augment.in_room(click, 0.5, 1.0, random)
    assert len(heard) == len(click)
    assert not heard[:99].round(5).any()
    assert heard[100] == pytest.approx(1, abs=1e-4)
    assert power(heard[101:]) * (RATE - 101) == pytest.approx(1, rel=0.01)
    early, late = power(heard[500:1500]), power(heard[4500:5500])
    assert 10 * np.log10(early / late) == pytest.approx(60 * 4000 / RATE / 0.5, abs=2)


def test_a_disturbed_recording_stays_a_recording(random: np.random.Generator) -> None:
    for _ in range(30):
        heard = augment.disturbed(tone(300), lambda: tone(700, 0.5), random)
        assert heard.dtype == np.float32
        assert RATE / 1.2 < len(heard) < RATE * 1.2
        assert np.isfinite(heard).all()
