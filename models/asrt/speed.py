"""Measures how fast recognisers are on one processor: `python -m models.asrt.speed [FOLDER …]`.

A folder is a version's, such as `asrt/1`. Without one, SpeechModel251BN with random weights is measured (they make no
difference to its speed) and the bundled recogniser.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import tensorflow as tf

from models.asrt import convert, network
from models.speech.labels import BLANK
from service.runners.tensorflow import TensorFlowRunner
from service.types import DEFAULT_SIGNATURE, Runner

BUNDLED: Final = Path(__file__).resolve().parent.parent / "speech/1"
#: Seconds of audio, and the labels of the original.
LENGTHS: Final = (1, 2, 4, 8, 16)
OUTPUTS: Final = 1428


def best(runner: Runner, seconds: int, runs: int) -> float:
    """Return the seconds that the fastest of the runs took for so many seconds of audio."""
    samples = np.random.default_rng(0).normal(0, 0.1, (1, seconds * 16000)).astype(np.float32)
    inputs = {"samples": samples, "lengths": np.array([samples.shape[1]], np.int32)}
    taken = []
    for _ in range(runs + 1):  # the first one prepares
        begun = time.perf_counter()
        runner.run(DEFAULT_SIGNATURE, inputs)
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table: a row for each length, for each model milliseconds and the share of the audio's time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args(arguments)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {str(folder): folder for folder in options.folders}
        folders = folders or {"SpeechModel251BN": _random(Path(scratch)), "bundled": BUNDLED}
        runners = [TensorFlowRunner(folder, 1) for folder in folders.values()]
        print(f"| audio | {' | '.join(folders)} |\n| --- |{' --- |' * len(folders)}")
        for seconds in LENGTHS:
            times = [best(runner, seconds, options.runs) for runner in runners]
            print(f"| {seconds} s | {' | '.join(f'{1e3 * t:.1f} ms, {t / seconds:.4f}' for t in times)} |", flush=True)


def _random(folder: Path) -> Path:
    labels = [f"a{number}" for number in range(OUTPUTS - 1)]
    convert.export(network.initial_weights(OUTPUTS, 0), [*labels, BLANK], folder)
    return folder


if __name__ == "__main__":
    main()
