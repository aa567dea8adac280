"""models/asrt/network.py: ASRT's features and its network, computed for the audio's length only."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.asrt import network
from tests.training import keras2

OUTPUTS = 1428
WEIGHTS = keras2.random_weights(OUTPUTS)
FOLDED = network.folded(WEIGHTS)
RUN = tf.function(lambda samples, lengths: network.scores(samples, lengths, FOLDED), input_signature=network.INPUTS)
SPECTROGRAM = tf.function(network.spectrogram, reduce_retracing=True)


def scores(samples: Any, *lengths: int) -> tuple[Any, Any]:
    found, frames = RUN(tf.constant(samples, tf.float32), tf.constant(lengths, tf.int32))
    return found.numpy(), frames.numpy()


def recording(count: int, seed: int = 2) -> Any:
    """Return 16-bit samples: a gliding tone with overtones that comes and goes, in noise."""
    time = np.arange(count) / 16000
    voice = sum(np.sin(2 * np.pi * number * (120 + 30 * time) * time) / number for number in range(1, 20))
    noise = np.random.default_rng(seed).normal(0, 200, count)
    return (4000 * voice * np.sin(3 * time) ** 2 + noise).astype(np.int16)


def features(integers: Any) -> Any:
    """Return log(|FFT| + 1) of windows of 25 ms, every 10 ms, in double precision, [frames, 200]."""
    count = int(len(integers) / 16000 * 1000 - 25) // 10 + 1
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)
    windows = [integers[160 * frame : 160 * frame + 400] * window for frame in range(count)]
    return np.log(np.abs(np.fft.fft(windows))[:, :200] + 1)


@cache
def reference() -> Any:
    """Return the network by Keras, with the same weights."""
    model = keras2.keras_model(OUTPUTS)
    for layer in model.layers:
        names = [name for name in WEIGHTS if name.startswith(f"{layer.name}/")]
        layer.set_weights([WEIGHTS[name] for name in names])
    return model


def padded(*recordings: Any) -> Any:
    """Return what ASRT gives its network for recordings: features padded to 1600 frames."""
    inputs = np.zeros((len(recordings), 1600, 200, 1), np.float32)
    for row, integers in enumerate(recordings):
        found = features(integers)
        inputs[row, : len(found), :, 0] = found
    return inputs


def test_it_has_as_many_weights_as_the_original() -> None:
    shapes = network.shapes(OUTPUTS)
    statistics = sum(np.prod(shape) for name, shape in shapes.items() if "moving" in name)
    assert sum(np.prod(shape) for shape in shapes.values()) == reference().count_params() == 1_474_548
    assert 1_474_548 - statistics == 1_472_628


@pytest.mark.parametrize("count", [400, 559, 560, 16000, 40123])
def test_the_features_are_those_of_the_formula(count: int) -> None:
    integers = recording(count)
    expected = features(integers)
    found = SPECTROGRAM(tf.constant(integers.astype(np.float32) / 32768), tf.constant(len(expected))).numpy()
    np.testing.assert_allclose(found[: len(expected)], expected, atol=2e-3)
    assert (found[len(expected) :] == 0).all()


def test_samples_become_the_integers_that_they_came_from() -> None:
    integers = np.arange(-32768, 32768, dtype=np.int16)[:: 65536 // 400][:400]
    for difference in (0, 0.4, -0.4):
        found = SPECTROGRAM(tf.constant((integers + np.float32(difference)) / 32768, tf.float32), tf.constant(1))
        np.testing.assert_allclose(found.numpy()[:1], features(integers), atol=1e-3)
    above = SPECTROGRAM(tf.constant(np.full(400, 7.0, np.float32)), tf.constant(1)).numpy()[0, 0]
    assert above == pytest.approx(features(np.full(400, 32767))[0, 0])


def test_it_answers_what_the_padded_network_answers() -> None:
    """Lengths from one frame to the longest, some of which see the end of the padding."""
    recordings = [recording(count, count) for count in (400, 25_000, 249_000, 256_399)]
    expected = reference().predict_on_batch(padded(*recordings))
    samples = np.zeros((len(recordings), 256_399), np.float32)
    for row, integers in enumerate(recordings):
        samples[row, : len(integers)] = integers / np.float32(32768)
    found, frames = scores(samples, *map(len, recordings))
    assert frames.tolist() == [1, 20, 195, 200]
    assert expected.max() > 0.5, "the answers should differ from frame to frame"
    for row, count in enumerate(frames):
        np.testing.assert_allclose(found[row, :count], expected[row, :count], rtol=1e-3, atol=1e-4)


def test_work_grows_with_the_length() -> None:
    sizes = [
        len(SPECTROGRAM(tf.constant(np.zeros(256_000, np.float32)), tf.constant(count))) for count in (0, 1, 98, 1598)
    ]
    assert sizes == [48, 56, 152, 1600]


@pytest.mark.parametrize("padding", [0.0, 1.0, np.nan])
def test_a_row_is_answered_alike_alone_and_padded_among_others(padding: float) -> None:
    samples = recording(30_000).astype(np.float32) / 32768
    alone, _ = scores(samples[None, :9001], 9001)
    beside = np.pad(samples[:9001], (0, 20_999), constant_values=padding)
    together, frames = scores(np.stack([samples, beside, samples]), 30_000, 9001, 3)
    assert frames.tolist() == [24, 7, 0]
    np.testing.assert_allclose(together[1, :7], alone[0], rtol=1e-3, atol=1e-6)
    assert (together[1, 7:, -1] == 1).all()
    assert (together[2, :, -1] == 1).all()
    np.testing.assert_allclose(together.sum(axis=2), 1, rtol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 239, 240, 384, 399, 400, 1679, 1680])
def test_a_frame_needs_25_ms_and_a_score_comes_for_every_eight_begun(count: int) -> None:
    found, frames = scores(np.zeros((1, count)), count)
    expected = {1679: 1, 1680: 2}.get(count, int(count >= 400))
    assert frames.tolist() == [expected]
    assert found.shape == (1, expected, OUTPUTS)


def test_no_rows_are_answered_with_none() -> None:
    found, frames = scores(np.zeros((0, 4000)))
    assert found.shape == (0, 0, OUTPUTS)
    assert frames.shape == (0,)


def test_more_than_the_original_takes_is_refused() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 16 s of audio"):
        scores(np.zeros((1, 256_400)), 256_400)
    assert scores(np.zeros((1, 300_000)), 4000)[1].tolist() == [3], "what does not count may be longer"


def test_lengths_that_cannot_be_are_brought_to_what_there_is() -> None:
    samples = recording(4800)[None].astype(np.float32) / 32768
    np.testing.assert_array_equal(scores(samples, 1 << 30)[0], scores(samples, 4800)[0])
    assert scores(samples, -5)[1].tolist() == [0]
