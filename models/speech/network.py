"""The network: samples in, label scores out, features included.

All of it is plain operations: matrix products, convolutions, sums along an axis. Nothing looks further than 0.7 s to
either side, except that the level is measured over the whole row. What lies beyond a row's length is masked wherever a
frame that counts could see it, so a row's result depends neither on its padding nor on its neighbours.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.speech.labels import FINALS, INITIALS, LABELS, TONES

RATE: Final = 16000
#: Samples from frame to frame; a frame looks at three times as many. `STRIDE` of these frames make one of the scores.
HOP, STRIDE = 160, 3
BANDS: Final = 80
#: Channels of the two convolutions, width of the residual blocks, of their inner layer, their reach and number.
STEM, WIDTH, INNER, REACH, BLOCKS = (24, 40), 192, 576, 7, 7
#: The second output is for training alone; it hangs behind this block (counted from 1).
HEADS, HALFWAY = ("head", "halfway"), 4

INPUTS: Final = [tf.TensorSpec([None, None], tf.float32, "samples"), tf.TensorSpec([None], tf.int32, "lengths")]

Weights = Mapping[str, Any]
Floats = NDArray[np.float32]


def initial_weights(seed: int) -> dict[str, Floats]:
    """Return the weights by name, to begin with: He's rule, blocks that begin nearly as identity, zeros elsewhere."""
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "stem/first": (7, 5, 1, STEM[0]),
        "stem/second": (1, 3, *STEM),
        "stem/dense": (BANDS // 4 * STEM[1], WIDTH),
    }
    for head in HEADS:
        shapes[head] = (WIDTH, len(LABELS))
        shapes[f"{head}/parts"] = (WIDTH, len(_parts()))
    for block in range(1, BLOCKS + 1):
        shapes[f"block{block}/depthwise"] = (1, REACH, WIDTH, 1)
        shapes[f"block{block}/up"] = (WIDTH, INNER)
        shapes[f"block{block}/down"] = (INNER, WIDTH)
    weights = {}
    for name, shape in shapes.items():
        outputs = shape[-2] if name.endswith("depthwise") else shape[-1]
        spread = np.sqrt(2 / (np.prod(shape) / outputs)) * (0.3 if name.endswith(("down", "parts")) else 1)
        weights[name] = random.normal(0, 0 if name in HEADS else spread, shape).astype(np.float32)
        if not name.endswith("parts"):
            weights[f"{name}/bias"] = np.zeros(outputs, np.float32)
    return weights


def scores(samples: tf.Tensor, lengths: tf.Tensor, weights: Weights) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the logarithms of probabilities, FP32 [n, frames, labels], and how many frames of each row count.

    `samples` is FP32 [n, samples] in -1..1 at 16 kHz, `lengths` int32 [n] says how many of them count in each row. A
    frame stands for 30 ms; the frames that do not count say blank.
    """
    power, frames = band_power(samples, lengths)
    logits = head_logits(compressed(power, frames), frames, weights)[0]
    frames = -(-frames // STRIDE)
    inside = _inside(frames, tf.shape(logits)[1])
    nothing = tf.constant([[[-100.0] * (len(LABELS) - 1) + [0.0]]], tf.float32)
    return tf.where(inside, tf.nn.log_softmax(logits), nothing), frames


def band_power(samples: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the power in each mel band relative to the row's mean, FP32 [n, frames, BANDS], and the frames that count.

    A frame comes every 10 ms and looks at 30 ms through a Hann window.
    """
    count = tf.shape(samples)[1]
    lengths = tf.clip_by_value(lengths, 0, count)
    samples = tf.where(tf.sequence_mask(lengths, count), samples, 0.0)
    total = tf.maximum(1, -(-count // HOP))
    samples = tf.pad(samples, [[0, 0], [HOP, (total + 1) * HOP - count]])
    hops = tf.reshape(samples, [-1, total + 2, HOP])
    turned = tf.reverse(hops, axis=[2])
    early = tf.concat([hops[:, :-2], hops[:, 1:-1, : HOP // 2]], axis=2)
    late = tf.concat([turned[:, 2:], turned[:, 1:-1, : HOP // 2]], axis=2)
    cosines, sines = _fourier()  # about the window's middle: the former meet what is even, the latter what is odd
    waves = tf.matmul(early + late, tf.constant(cosines)) ** 2 + tf.matmul(early - late, tf.constant(sines)) ** 2
    power = tf.matmul(waves, tf.constant(_mel()))
    frames = -(-lengths // HOP)
    inside = tf.cast(_inside(frames, total), tf.float32)
    counted = tf.maximum(tf.reduce_sum(inside, axis=1, keepdims=True), 1.0)
    level = tf.reduce_mean(tf.reduce_sum(power * inside, axis=1, keepdims=True) / counted, axis=2, keepdims=True)
    return power / (level + 1e-9), frames


def compressed(power: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    """Return the logarithm of the power, about -2..3, zero where no frame counts."""
    inside = _inside(frames, tf.shape(power)[1])
    return tf.where(inside, tf.math.log(power + 1e-4) * 0.35 + 1.5, 0.0)


def head_logits(mels: tf.Tensor, frames: tf.Tensor, weights: Weights, drop: float = 0.0) -> list[tf.Tensor]:
    """Return logits FP32 [n, frames / STRIDE, labels] at the end and, if there are weights for it, halfway.

    `drop` is the rate of dropout in training.
    """
    total = -(-tf.shape(mels)[1] // STRIDE)
    inside = tf.cast(_inside(-(-frames // STRIDE), total), tf.float32)
    x = _stem(mels, total, weights)
    halfway = x
    for block in range(1, BLOCKS + 1):
        y = _block(x * inside, f"block{block}", weights, drop)
        if drop:  # now and then a block is left out for a row, a later one more often
            keep = 1 - drop * block / BLOCKS
            y *= tf.floor(keep + tf.random.uniform([tf.shape(y)[0], 1, 1])) / keep
        x += y
        halfway = x if block == HALFWAY else halfway
    return [_head(_normed(s), name, weights) for name, s in zip(HEADS, (x, halfway), strict=True) if name in weights]


def _inside(counts: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    """Return booleans [n, total, 1]: whether a frame counts."""
    return tf.expand_dims(tf.sequence_mask(counts, total), 2)


def _stem(mels: tf.Tensor, total: tf.Tensor, weights: Weights) -> tf.Tensor:
    """Return FP32 [n, total, WIDTH]: a convolution over time and bands, one over bands, then all bands mixed."""
    right = total * STRIDE + 2 - tf.shape(mels)[1]
    x = tf.expand_dims(tf.pad(mels, [[0, 0], [2, right], [2, 2]]), 3)
    x = tf.nn.conv2d(x, weights["stem/first"], [1, STRIDE, 2, 1], "VALID") + weights["stem/first/bias"]
    x = tf.pad(tf.nn.relu(x), [[0, 0], [0, 0], [1, 1], [0, 0]])
    x = tf.nn.conv2d(x, weights["stem/second"], [1, 1, 2, 1], "VALID") + weights["stem/second/bias"]
    x = tf.reshape(tf.nn.relu(x), [-1, total, BANDS // 4 * STEM[1]])
    return _dense(_normed(x), "stem/dense", weights)


def _block(x: tf.Tensor, name: str, weights: Weights, drop: float) -> tf.Tensor:
    """Return what a residual block adds: neighbours mixed channel by channel, then two dense layers frame by frame."""
    x = tf.pad(x, [[0, 0], [REACH // 2, REACH // 2], [0, 0]])
    x = tf.nn.depthwise_conv2d(tf.expand_dims(x, 1), weights[f"{name}/depthwise"], [1, 1, 1, 1], "VALID")
    x = _normed(tf.squeeze(x, 1) + weights[f"{name}/depthwise/bias"])
    x = tf.nn.silu(_dense(x, f"{name}/up", weights))
    return _dense(tf.nn.dropout(x, drop) if drop else x, f"{name}/down", weights)


def _head(x: tf.Tensor, name: str, weights: Weights) -> tf.Tensor:
    """Return the labels' logits: those of the labels' parts, added up, so that a tone is one thing in all syllables.

    What two parts have in common besides is added, too; training keeps it small.
    """
    whole = weights[name] + tf.matmul(weights[f"{name}/parts"], tf.constant(_parts()))
    return _dense(x, name, {name: whole, f"{name}/bias": weights[f"{name}/bias"]})


def _dense(x: tf.Tensor, name: str, weights: Weights) -> tf.Tensor:
    """Return a dense layer of every frame. All frames of all rows are one matrix: faster than one for each row."""
    flat = tf.reshape(x, [-1, x.shape[-1]])
    shape = [-1, tf.shape(x)[1], weights[name].shape[-1]]
    return tf.reshape(tf.matmul(flat, weights[name]) + weights[f"{name}/bias"], shape)


def _normed(x: tf.Tensor) -> tf.Tensor:
    """Return every frame at unit power."""
    return x * tf.math.rsqrt(tf.reduce_mean(x * x, axis=-1, keepdims=True) + 1e-6)


def _parts() -> Floats:
    """Return which parts each label has, 0 or 1, [parts, labels]: an initial, or a final and a tone, or the blank."""
    finals = np.kron(np.eye(len(FINALS)), np.ones(len(TONES)))
    tones = np.kron(np.ones(len(FINALS)), np.eye(len(TONES)))
    matrix = np.zeros((len(INITIALS) + len(FINALS) + len(TONES) + 1, len(LABELS)), np.float32)
    toned = slice(len(INITIALS), len(LABELS) - 1)
    matrix[: len(INITIALS), : len(INITIALS)] = np.eye(len(INITIALS))
    matrix[len(INITIALS) : -1, toned] = np.concatenate([finals, tones])
    matrix[-1, -1] = 1
    return matrix


def _fourier() -> tuple[Floats, Floats]:
    """Return the early half of the windowed Fourier transform's cosines and sines, of the frequencies above zero."""
    count = 3 * HOP
    time = np.arange(count // 2) - (count - 1) / 2
    window = 0.5 + 0.5 * np.cos(2 * np.pi * time / count)
    angle = 2 * np.pi * time[:, None] * np.arange(1, count // 2 + 1) / count
    scale = window[:, None] / (2 * window.sum())
    return (np.cos(angle) * scale).astype(np.float32), (np.sin(angle) * scale).astype(np.float32)


def _mel() -> Floats:
    """Return the matrix from frequencies to bands: triangles, evenly spaced in mel, louder where speech is softer."""
    frequency = np.arange(1, 3 * HOP // 2 + 1) * RATE / (3 * HOP)
    mels = 2595 * np.log10(1 + frequency / 700)
    edges = np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = (mels[:, None] - left) / (centre - left), (right - mels[:, None]) / (right - centre)
    triangles = np.maximum(0, np.minimum(rise, fall))
    return np.asarray(triangles / triangles.sum(axis=0) * (10 ** (centre / 2595) - 1), np.float32)
