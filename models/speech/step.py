"""One step of training: features disturbed, the loss, Adam, and a running average of the weights."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import tensorflow as tf

from models.speech import network
from models.speech.checkpoint import Weights

#: The learning rate at its highest, after so many steps; from there it falls to nothing along a cosine.
RATE, WARMUP = 1.5e-3, 1000
#: Weights shrink by this share of the learning rate in every step, those of whole labels by the other.
DECAY, WHOLE_DECAY = 0.02, 1.0
DROP: Final = 0.05
#: What the loss of the halfway output counts.
HALFWAY: Final = 0.3
#: The average keeps this share of itself in every step.
AVERAGE: Final = 0.999
_MOMENTS: Final = (0.9, 0.98)
_LONGEST_GRADIENT: Final = 5.0
_SPARSE: Final = [tf.TensorSpec([None, 2], tf.int64), tf.TensorSpec([None], tf.int32)]


class Training:
    """Weights in training and their average, which is what recognises best."""

    def __init__(self, weights: Weights, average: Weights, steps: int, done: int) -> None:
        """Go on after `done` of `steps` steps."""
        self._weights = {name: tf.Variable(value) for name, value in weights.items()}
        self._average = {name: tf.Variable(value) for name, value in average.items()}
        self._moments = {name: [tf.Variable(tf.zeros(value.shape)) for _ in "mv"] for name, value in weights.items()}
        self._steps, self._done = steps, tf.Variable(float(done))
        #: Takes a batch's samples, lengths, labels' indices and values; returns the loss for each label.
        self.step = tf.function(self._step, input_signature=[*network.INPUTS, *_SPARSE])
        #: What the average says about samples and lengths.
        self.scores = tf.function(self._scores, input_signature=network.INPUTS)

    def state(self) -> tuple[Weights, Weights]:
        """Return the weights and their average."""
        weights, average = ({n: v.numpy() for n, v in group.items()} for group in (self._weights, self._average))
        return weights, average

    def _scores(self, samples: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return network.scores(samples, lengths, self._average)

    def _step(self, samples: tf.Tensor, lengths: tf.Tensor, indices: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        power, frames = network.band_power(samples, lengths)
        mels = masked(network.compressed(coloured(power), frames))
        labels = tf.SparseTensor(indices, values, [tf.shape(samples, tf.int64)[0], tf.shape(values, tf.int64)[0]])
        with tf.GradientTape() as tape:
            outputs = network.head_logits(mels, frames, self._weights, DROP)
            end, halfway = (_loss(logits, -(-frames // network.STRIDE), labels) for logits in outputs)
            total = end + HALFWAY * halfway
        self._apply(tape.gradient(total, list(self._weights.values())))
        return end

    def _apply(self, gradients: Sequence[tf.Tensor]) -> None:
        """Take a step of Adam with decoupled weight decay, and let the average follow.

        Adam's correction for moments that begin at zero is left out: the learning rate begins at zero, too.
        """
        gradients, _ = tf.clip_by_global_norm(gradients, _LONGEST_GRADIENT)
        done = self._done.assign_add(1.0)
        rate = RATE * tf.minimum(done / WARMUP, 0.5 + 0.5 * tf.cos(np.pi * tf.minimum(done / self._steps, 1.0)))
        keep = tf.minimum(AVERAGE, done / (done + 10))
        settings = {"beta1_power": 0.0, "beta2_power": 0.0, "beta1": _MOMENTS[0], "beta2": _MOMENTS[1], "epsilon": 1e-8}
        for (name, weight), gradient in zip(self._weights.items(), gradients, strict=True):
            first, second = (moment.handle for moment in self._moments[name])
            tf.raw_ops.ResourceApplyAdam(var=weight.handle, m=first, v=second, grad=gradient, lr=rate, **settings)
            if not name.endswith("bias"):
                weight.assign_sub(rate * (WHOLE_DECAY if name in network.HEADS else DECAY) * weight)
            self._average[name].assign_sub((1 - keep) * (self._average[name] - weight))


def coloured(power: tf.Tensor) -> tf.Tensor:
    """Return the power of the bands as another microphone gives it: level, slope and unevenness by row."""
    rows = tf.shape(power)[0]
    place = tf.linspace(-1.0, 1.0, network.BANDS)
    level, slope = tf.random.normal([rows, 1, 1], 0, 0.7), tf.random.normal([rows, 1, 1], 0, 0.5)
    waves = tf.random.normal([rows, 1, 3], 0, 0.3) @ tf.sin(tf.range(1.0, 4.0)[:, None] * np.pi * place)
    return power * tf.exp(level + slope * place + waves)


def masked(mels: tf.Tensor) -> tf.Tensor:
    """Return the features with two stretches of bands and four of time blanked out in each row (SpecAugment, 2019).

    Those of time are shorter than syllables: what is left out should be guessed from sounds, not from words.
    """

    def kept(size: tf.Tensor, stretches: int, longest: int) -> tf.Tensor:
        width = tf.random.uniform([tf.shape(mels)[0], stretches, 1], 0, longest)
        start = tf.random.uniform([tf.shape(mels)[0], stretches, 1], -longest / 2, tf.cast(size, tf.float32))
        place = tf.cast(tf.range(size), tf.float32)
        return tf.reduce_all((place < start) | (place >= start + width), axis=1)

    times, bands = kept(tf.shape(mels)[1], 4, 8), kept(tf.shape(mels)[2], 2, 16)
    return tf.where(times[:, :, None] & bands[:, None, :], mels, 0.0)


def _loss(logits: tf.Tensor, frames: tf.Tensor, labels: tf.SparseTensor) -> tf.Tensor:
    """Return the loss of connectionist temporal classification for each label; a row with too few frames counts 0."""
    losses = tf.compat.v1.nn.ctc_loss(
        labels, tf.transpose(logits, [1, 0, 2]), frames, ignore_longer_outputs_than_inputs=True
    )
    return tf.reduce_sum(losses) / tf.cast(tf.shape(labels.values)[0], tf.float32)
