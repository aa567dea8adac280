"""ASRT's SpeechModel251BN: samples in, scores of pinyin out, with the features that it was trained on.

The original always computes 1600 frames, of which those behind the audio's end are zero. Here only as many of them are
computed as what counts can see: that is exactly the same, for the time that the audio takes.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

#: A frame comes every 160 samples (10 ms) and looks at 400; 200 of its frequencies count.
HOP, WINDOW, FREQUENCIES = 160, 400, 200
#: The most frames that the network takes: 16.025 s. Eight of them make one of the scores.
LONGEST: Final = 1600
STRIDE: Final = 8
#: The channels of the convolutions, and by how much the frames are pooled after each.
FILTERS: Final = (32, 32, 64, 64, 128, 128, 128, 128, 128, 128)
POOLS: Final = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1)
HIDDEN: Final = 128
#: What batch normalisation adds to the variance.
EPSILON: Final = 0.0002
#: A score sees 46 frames beyond its own eight: two convolutions reach 2 frames, and after each of three poolings twice
#: as far, then four reach as far as 4 scores. Rounded up to whole scores.
REACH: Final = 48

INPUTS: Final = [tf.TensorSpec([None, None], tf.float32, "samples"), tf.TensorSpec([None], tf.int32, "lengths")]

Weights = Mapping[str, Any]
Floats = NDArray[np.float32]


def shapes(outputs: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all weights by layer and name, `Conv0/kernel`, of a network with so many outputs."""
    found: dict[str, tuple[int, ...]] = {}
    channels = 1
    for number, filters in enumerate(FILTERS):
        found[f"Conv{number}/kernel"] = (3, 3, channels, filters)
        found[f"Conv{number}/bias"] = (filters,)
        found |= {f"BN{number}/{name}": (filters,) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
        channels = filters
    flat = FREQUENCIES // STRIDE * channels
    for number, (inputs, units) in enumerate([(flat, HIDDEN), (HIDDEN, outputs)]):
        found[f"Dense{number}/kernel"] = (inputs, units)
        found[f"Dense{number}/bias"] = (units,)
    return found


def initial_weights(outputs: int, seed: int) -> dict[str, Floats]:
    """Return weights by He's rule, as before any training: enough to measure the network and to test it."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes(outputs).items():
        spread = np.sqrt(2 / np.prod(shape[:-1])) if name.endswith("kernel") else 0
        level = 1 if name.endswith(("gamma", "variance")) else 0
        weights[name] = random.normal(level, spread, shape).astype(np.float32)
    return weights


def folded(weights: Weights) -> dict[str, Floats]:
    """Return the weights with each batch normalisation made part of the convolution before it."""
    found = {name: weights[name] for name in weights if name.startswith("Dense")}
    for number in range(len(FILTERS)):
        norm = {name: weights[f"BN{number}/{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")}
        scale = norm["gamma"] / np.sqrt(norm["moving_variance"].astype(np.float64) + EPSILON)
        shift = (weights[f"Conv{number}/bias"] - norm["moving_mean"]) * scale + norm["beta"]
        found[f"Conv{number}/kernel"] = (weights[f"Conv{number}/kernel"] * scale).astype(np.float32)
        found[f"Conv{number}/bias"] = shift.astype(np.float32)
    return found


def scores(samples: tf.Tensor, lengths: tf.Tensor, weights: Weights) -> tuple[tf.Tensor, tf.Tensor]:
    """Return probabilities FP32 [n, frames, outputs], and how many frames of each row count; the others say blank.

    `samples` is FP32 [n, samples] in -1..1 at 16 kHz, `lengths` int32 [n] says how many of them count in each row, and
    `weights` are folded ones. Rows are computed one by one, each for its own time, so memory does not grow with them.
    More than LONGEST frames in a row raise InvalidArgumentError.
    """
    lengths = tf.clip_by_value(lengths, 0, tf.shape(samples)[1])
    frames = tf.maximum(0, (lengths - WINDOW) // HOP + 1)
    tf.debugging.assert_less_equal(frames, LONGEST, "more than 16 s of audio")
    counts = -(-frames // STRIDE)
    rows, longest = tf.shape(samples)[0], tf.maximum(0, tf.reduce_max(counts))
    outputs = weights["Dense1/bias"].shape[0]
    blank = tf.one_hot([outputs - 1], outputs)

    def add(row: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        heard = probabilities(spectrogram(samples[row], frames[row]), weights)[: counts[row]]
        silence = tf.repeat(blank, longest - counts[row], axis=0)
        return row + 1, tf.concat([found, heard, silence], axis=0)

    before = (tf.constant(0), tf.zeros([0, outputs]))
    invariants = (tf.TensorShape([]), tf.TensorShape([None, outputs]))
    _, found = tf.while_loop(lambda row, _: row < rows, add, before, invariants, parallel_iterations=1)
    return tf.reshape(found, tf.stack([rows, longest, outputs])), counts


def spectrogram(samples: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    """Return log(1 + magnitude) of each frequency of 16-bit samples, FP32 [total, FREQUENCIES].

    The first `frames` count, those behind are zero; `total` is as many as what counts can see.
    """
    total = tf.minimum(LONGEST, -(-frames // STRIDE) * STRIDE + REACH)
    needed = tf.where(frames > 0, (frames - 1) * HOP + WINDOW, 0)
    whole = tf.clip_by_value(tf.round(samples[:needed] * 32768), -32768, 32767)
    whole = tf.pad(whole, [[0, (total - 1) * HOP + WINDOW - needed]])
    waves = tf.nn.conv1d(whole[None, :, None], _fourier(), HOP, "VALID")[0]
    magnitude = tf.sqrt(waves[:, :FREQUENCIES] ** 2 + waves[:, FREQUENCIES:] ** 2)
    return tf.where(tf.sequence_mask(frames, total)[:, None], tf.math.log1p(magnitude), 0.0)


def probabilities(features: tf.Tensor, weights: Weights) -> tf.Tensor:
    """Return FP32 [total / STRIDE, outputs] for features [total, FREQUENCIES]."""
    x = features[None, :, :, None]
    for number, pool in enumerate(POOLS):
        x = tf.nn.conv2d(x, weights[f"Conv{number}/kernel"], 1, "SAME")
        x = tf.nn.relu(tf.nn.bias_add(x, weights[f"Conv{number}/bias"]))
        if pool > 1:
            x = tf.nn.max_pool2d(x, pool, pool, "VALID")
    x = tf.reshape(x, [-1, weights["Dense0/kernel"].shape[0]])
    x = tf.nn.relu(tf.matmul(x, weights["Dense0/kernel"]) + weights["Dense0/bias"])
    return tf.nn.softmax(tf.matmul(x, weights["Dense1/kernel"]) + weights["Dense1/bias"])


def _fourier() -> Floats:
    """Return the cosines and sines of a Hamming window's Fourier transform as a convolution [WINDOW, 1, 2 x 200]."""
    time = np.arange(WINDOW)
    angle = 2 * np.pi * np.outer(time, np.arange(FREQUENCIES)) / WINDOW
    window = 0.54 - 0.46 * np.cos(2 * np.pi * time / (WINDOW - 1))
    waves = np.concatenate([np.cos(angle), np.sin(angle)], axis=1) * window[:, None]
    return waves[:, None].astype(np.float32)
