"""A model of speech whose scores are read off the samples, so that tests know what it has to hear."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from service.speech.audio import RATE, Samples, from_file
from service.types import ELEMENT_TYPES, Array, Signature, Tensors, TensorSpec
from tests.speech import words

#: Silence and the labels, each told by its level in eighths; the blank is the label of silence.
LABELS = ["_", "n", "i3", "h", "ao3"]
#: Samples that each lasts.
FRAME = 1600
HELLO = ["n", "i3", "h", "ao3"]
SILENCE = ["_"]

_TYPES = {element.oip: element for element in ELEMENT_TYPES}


def said(*labels: str, rate: int = RATE) -> Samples:
    """Return samples in which each label lasts a tenth of a second."""
    return np.repeat([np.float32(LABELS.index(label) / 8) for label in labels], FRAME * rate // RATE)


def pcm(samples: Samples, width: int = 2) -> bytes:
    """Return the samples as little-endian integers."""
    return np.rint(samples * ((1 << 8 * width - 1) - 1)).astype(f"<i{width}").tobytes()


def file(samples: npt.NDArray[Any], rate: int = RATE, form: str = "WAV") -> bytes:
    """Return the samples as a file of that form."""
    target = io.BytesIO()
    soundfile.write(target, samples, rate, format=form)
    return target.getvalue()


def decoded(data: bytes, longest: float) -> Samples:
    """Return all samples of a file."""
    *_, samples = from_file(data, longest)
    return samples


def describe(version: Path) -> None:
    """Put into a version's folder what makes its model one of speech, with a language of one word."""
    extra = version / "assets.extra"
    extra.mkdir(parents=True)
    (extra / "labels.txt").write_text("\n".join([*LABELS[1:], LABELS[0]]))
    words.write(extra / "language.npz", [("你好", "ni3 hao3", 0.2)])


def save(folder: Path) -> None:
    """Write the model in TensorFlow Serving layout."""
    import tensorflow as tf  # noqa: PLC0415 - it takes seconds, and most who want audio do not want it

    def score(samples: Any, lengths: Any) -> dict[str, Any]:
        levels = tf.cast(tf.round(samples[:, FRAME // 2 :: FRAME] * 8), tf.int32)
        scores = tf.one_hot((levels - 1) % len(LABELS), len(LABELS))
        return {"scores": scores, "frames": -(-lengths // FRAME)}

    specs = [tf.TensorSpec([None, None], tf.float32, "samples"), tf.TensorSpec([None], tf.int32, "lengths")]
    tf.saved_model.save(tf.Module(), str(folder / "1"), tf.function(score, specs, autograph=False))
    describe(folder / "1")


@dataclass
class Reader:
    """The same as a runner."""

    signatures: Mapping[str, Signature] = field(
        default_factory=lambda: {
            "serving_default": Signature(
                {"samples": _spec("FP32", None, None), "lengths": _spec("INT32", None)},
                {"scores": _spec("FP32", None, None, len(LABELS)), "frames": _spec("INT32", None)},
                "predict",
            )
        }
    )
    platform: str = "none"
    reentrant: bool = False

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """Return the scores and how many count."""
        samples, lengths = np.asarray(inputs["samples"], np.float32), np.asarray(inputs["lengths"], np.int32)
        levels = np.rint(samples[:, FRAME // 2 :: FRAME] * 8).astype(int)
        scores: Array = np.eye(len(LABELS), dtype=np.float32)[(levels - 1) % len(LABELS)]
        return {"scores": scores, "frames": -(-lengths // FRAME)}


def _spec(datatype: str, *shape: int | None) -> TensorSpec:
    return TensorSpec(_TYPES[datatype], shape)
