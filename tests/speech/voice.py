"""A voice made of two vowels, for tests that need a recogniser to hear something, whatever it takes it for."""

import numpy as np
import numpy.typing as npt

RATE = 16_000

#: Of a vowel like a and one like e: frequency, width and strength of its formants.
_VOWELS = (
    ((900, 90, 1.0), (1300, 110, 0.6), (2800, 200, 0.2)),
    ((500, 70, 1.0), (1500, 120, 0.5), (2500, 200, 0.2)),
)
#: Hz at which a syllable begins and ends.
_TONES = ((260, 260), (180, 260), (280, 150))


def sentences(count: int) -> bytes:
    """Return so many sentences of six syllables and a pause, 2.4 s each, all different: PCM of 16 bits."""
    syllables = [_syllable(vowel, *tone) for tone in _TONES for vowel in _VOWELS]
    pause, random = np.zeros(6 * RATE // 10), np.random.default_rng(0)
    parts = [part for _ in range(count) for part in (*(syllables[number] for number in random.permutation(6)), pause)]
    return np.concatenate(parts).astype("<i2").tobytes()


def _syllable(vowel: tuple[tuple[float, float, float], ...], begin: int, end: int) -> npt.NDArray[np.float64]:
    time = np.arange(3 * RATE // 10) / RATE
    pitch = np.linspace(begin, end, len(time))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    sound = np.zeros(len(time))
    for harmonic in range(1, 26):
        strength = sum(gain / (1 + ((harmonic * pitch - place) / width) ** 2) for place, width, gain in vowel)
        sound += strength * np.sin(harmonic * phase)
    fade = np.minimum(1, np.minimum(time, time[::-1]) / 0.04)
    spoken: npt.NDArray[np.float64] = 6000 * sound * fade / np.abs(sound).max()
    return spoken
