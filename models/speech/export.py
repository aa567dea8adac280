"""Writes the SavedModel of a training's checkpoint: `python -m models.speech.export`, from the project's root."""

from pathlib import Path
from typing import Final

import tensorflow as tf

from models.speech import checkpoint, network
from models.speech.labels import LABELS

HERE: Final = Path(__file__).resolve().parent


def export(weights: network.Weights, folder: Path) -> None:
    """Write a SavedModel without Keras to `folder`; its weights are constants of the one signature's graph.

    What else lies in the folder stays there.
    """
    weights = {name: value for name, value in weights.items() if not name.startswith("halfway")}

    def serve(samples: tf.Tensor, lengths: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, frames = network.scores(samples, lengths, weights)
        return {"scores": scores, "frames": frames}

    # Before the SavedModel: a pod that watches the folder takes it up as soon as that is there.
    (folder / "assets.extra").mkdir(parents=True, exist_ok=True)
    (folder / "assets.extra/labels.txt").write_text("".join(f"{label}\n" for label in LABELS), encoding="utf-8")
    signatures = {"serving_default": tf.function(serve, input_signature=network.INPUTS)}
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)


if __name__ == "__main__":
    export(checkpoint.read(checkpoint.PATH).average, HERE / "1")
