"""What happens to recordings on their way into a batch: other speeds, rooms and noises, made by arithmetic."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.speech.network import RATE

Floats = NDArray[np.float32]
Random = np.random.Generator

#: Power of a noise falls with this power of the frequency.
COLOURS: Final = {"white": 0.0, "pink": 1.0, "brown": 2.0}


def at_speed(samples: Floats, speed: float) -> Floats:
    """Return the samples played so many times as fast, voice and all."""
    places = np.arange(0, len(samples) - 1, speed)
    return np.asarray(np.interp(places, np.arange(len(samples)), samples), np.float32)


def noise(colour: str, count: int, random: Random) -> Floats:
    """Return `count` samples of noise of the colour."""
    spectrum = np.fft.rfft(random.standard_normal(count, np.float32))
    spectrum[1:] /= np.arange(1, len(spectrum), dtype=np.float32) ** np.float32(COLOURS[colour] / 2)
    return np.asarray(np.fft.irfft(spectrum, count), np.float32)


def babble(voices: Sequence[Floats], count: int, random: Random) -> Floats:
    """Return `count` samples of all voices at once, each repeated from somewhere on."""
    turned = [np.roll(voice, int(random.integers(len(voice)))) for voice in voices]
    return np.asarray(np.sum([np.resize(voice, count) for voice in turned], axis=0), np.float32)


def in_room(samples: Floats, seconds: float, distance: float, random: Random) -> Floats:
    """Return the samples as heard in a room in which sound fades by 60 dB in `seconds`.

    The room's answer is the direct sound, then fading noise; `distance` is the power of that over the direct one's.
    """
    time = np.arange(int(seconds * RATE), dtype=np.float32) / RATE
    tail = (
        random.standard_normal(len(time), np.float32)
        * 10 ** (-3 * time / seconds)
        * (time > random.uniform(0.001, 0.01))
    )
    answer = tail * np.sqrt(distance / np.sum(tail**2))
    answer[0] = 1
    count = len(samples) + len(answer)
    size = -(-count // 4096) * 4096  # a length that is quick to transform
    heard = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(answer, size), size)
    return np.asarray(heard[: len(samples)], np.float32)


def mixed(samples: Floats, other: Floats, decibels: float) -> Floats:
    """Return the samples with another sound added, softer by so many decibels on average."""
    ratio = float(np.sum(samples**2)) / max(float(np.sum(other**2)), 1e-9)
    return samples + other * np.float32(ratio**0.5 * 10 ** (-decibels / 20))


def disturbed(samples: Floats, voice: Callable[[], Floats], random: Random) -> Floats:
    """Return a recording as training sees it; `voice` gives another one, for babble. A third stays clean."""
    samples = at_speed(samples, random.uniform(0.87, 1.15))
    if random.random() < 0.25:
        samples = in_room(samples, random.uniform(0.15, 0.6), 10 ** random.uniform(-1.5, 0.3), random)
    if random.random() < 0.45:
        colour = random.choice([*COLOURS, "babble"])
        voices = [voice() for _ in range(random.integers(3, 7))] if colour == "babble" else []
        other = babble(voices, len(samples), random) if voices else noise(colour, len(samples), random)
        samples = mixed(samples, other, random.uniform(3, 35))
    return samples
