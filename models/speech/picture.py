"""Draws a training's history."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray


def draw(history: NDArray[np.float32], path: Path) -> None:
    """Write an SVG of [epochs, 3]: the loss, the error with tones and without."""
    with mpl.rc_context({"svg.hashsalt": "speech", "svg.fonttype": "none", "font.size": 9}):
        figure, left = plt.subplots(figsize=(7, 3.5), layout="constrained")
        right = left.twinx()
        epochs = np.arange(1, len(history) + 1)
        lines = [
            *left.plot(epochs, history[:, 0], color="0.6", label="training loss for each label (left)"),
            *right.plot(epochs, 100 * history[:, 1], color="C0", label="wrong syllables, held out (right)"),
            *right.plot(epochs, 100 * history[:, 2], "--", color="C0", label="the same without tones"),
        ]
        left.set(xlabel="epoch", ylabel="loss", yscale="log")
        right.set(ylabel="%", ylim=(0, min(100.0, 800 * float(history[-1, 1]))))
        left.legend(handles=lines, frameon=False)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
