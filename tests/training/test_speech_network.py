"""models/speech/network.py: what the network may and may not depend on."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.speech import network
from models.speech.labels import LABELS

WEIGHTS = network.initial_weights(5)
RUN = tf.function(lambda samples, lengths: network.scores(samples, lengths, WEIGHTS), input_signature=network.INPUTS)


def scores(samples: Any, *lengths: int) -> tuple[Any, Any]:
    found, frames = RUN(tf.constant(samples, tf.float32), tf.constant(lengths, tf.int32))
    return found.numpy(), frames.numpy()


def noise(rows: int, count: int) -> network.Floats:
    return np.random.default_rng(2).normal(0, 0.1, (rows, count)).astype(np.float32)


def test_it_has_at_most_two_million_weights() -> None:
    assert sum(value.size for name, value in WEIGHTS.items() if not name.startswith("halfway")) <= 2_000_000


def test_labels_share_parts_exactly_where_they_sound_alike() -> None:
    shared = network._parts().T @ network._parts()
    for one, other, expected in [
        *(("zh", "zh", 1), ("zh", "ch", 0), ("m", "m2", 0), ("ang4", "ang4", 2)),
        *(("ang4", "ang3", 1), ("ang4", "i4", 1), ("ang4", "i3", 0), ("_", "_", 1), ("_", "a1", 0)),
    ]:
        assert shared[LABELS.index(one), LABELS.index(other)] == expected


def test_a_tone_is_loudest_in_its_band() -> None:
    edges = 700 * (10 ** (np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + 8000 / 700), 82) / 2595) - 1)
    for band in (5, 20, 40, 60, 79):
        wave = np.sin(2 * np.pi * edges[band + 1] * np.arange(4800) / network.RATE)[None].astype(np.float32)
        power, frames = network.band_power(tf.constant(wave), tf.constant([4800]))
        assert frames.numpy().tolist() == [30]
        shares = power.numpy()[0, 15] / np.diff(edges)[1:]  # without the weight that grows with the frequency
        assert abs(int(shares.argmax()) - band) <= 1


def test_the_transform_is_a_discrete_fourier_transform_of_windows() -> None:
    samples = noise(1, 1600)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(480) + 0.5) / 480)
    spectrum = np.abs(np.fft.rfft(samples[0, 640:1120] * window)[1:]) ** 2 / window.sum() ** 2
    expected = spectrum @ network._mel()
    power, _ = network.band_power(tf.constant(samples), tf.constant([1600]))
    ratio = power.numpy()[0, 5] / expected
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-3)


def test_loudness_does_not_matter_where_there_is_any() -> None:
    quiet, loud = scores(0.1 * noise(1, 9000), 9000)[0], scores(3 * noise(1, 9000), 9000)[0]
    np.testing.assert_allclose(quiet, loud, atol=2e-2)


def test_what_lies_beyond_seven_tenths_of_a_second_does_not_matter() -> None:
    weights, count = WEIGHTS, 60
    mels = tf.constant(np.random.default_rng(1).normal(size=(1, 3 * count, network.BANDS)), tf.float32)
    frames = tf.constant([3 * count])
    here = network.head_logits(mels, frames, weights)[0].numpy()[0, count // 2]
    for gap, alike in ((72, True), (40, False)):
        far = tf.constant(np.abs(np.arange(3 * count) - 1.5 * count) > gap)[None, :, None]
        changed = network.head_logits(tf.where(far, 0.0, mels), frames, weights)[0].numpy()[0, count // 2]
        assert np.allclose(here, changed, atol=1e-6) == alike


@pytest.mark.parametrize("other", [0.0, 1.0, np.nan, np.inf])
def test_padding_and_neighbours_do_not_matter(other: float) -> None:
    samples = noise(1, 9001)
    alone, _ = scores(samples, 9001)
    padded = np.concatenate([np.pad(samples, ((0, 0), (0, 4000)), constant_values=other), noise(2, 13001)])
    together, frames = scores(padded, 9001, 13001, 7)
    assert frames.tolist() == [19, 28, 1]
    np.testing.assert_allclose(together[0, :19], alone[0], atol=1e-4)


def test_frames_that_do_not_count_say_blank() -> None:
    found, frames = scores(noise(2, 4800), 1000, 0)
    assert frames.tolist() == [3, 0]
    assert (found.argmax(axis=2)[0, 3:] == len(LABELS) - 1).all()
    assert (found.argmax(axis=2)[1] == len(LABELS) - 1).all()
    np.testing.assert_allclose(np.exp(found).sum(axis=2), 1, rtol=1e-5)


def test_lengths_that_cannot_be_are_brought_to_what_there_is() -> None:
    samples = noise(1, 4800)
    np.testing.assert_array_equal(scores(samples, 1 << 30)[0], scores(samples, 4800)[0])
    assert scores(samples, -5)[1].tolist() == [0]


def test_silence_and_clipping_give_numbers() -> None:
    found, _ = scores(np.stack([np.zeros(3000), np.ones(3000), np.sign(noise(1, 3000)[0])]), 3000, 3000, 3000)
    assert np.isfinite(found).all()
