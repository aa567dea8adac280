"""A model that nobody here wrote: Spotify's Basic Pitch, which hears notes, out of the SavedModel in its package."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from service.runners.litert import LiteRtRunner
from tests.program import get, program, until_ready

_WHEEL: Final = "basic-pitch==0.4.0 --hash=sha256:738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0"
_MODEL: Final = "basic_pitch/saved_models/icassp_2022/nmp"
#: Of each second; and what the model takes of them at once.
_RATE, _SAMPLES = 22050, 43844
#: The piano's lowest key, its A0, is the model's first note.
_A4: Final = 48


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fetch the package, without what it depends on: a gigabyte of other runtimes."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "wheel.txt").write_text(_WHEEL)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, "-d", folder, "-r", folder / "wheel.txt"],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        assert "HASHES" not in done.stderr, done.stderr
        pytest.skip(f"no package index can be reached: {done.stderr.strip().splitlines()[-1:]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def sine() -> Any:
    """Return the sound of an A4, 440 Hz: float32 [1, samples, 1]."""
    seconds = np.arange(_SAMPLES) / _RATE
    return (0.5 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32).reshape(1, -1, 1)


def test_a_foreign_model_hears_the_right_note_through_the_api(package: Path) -> None:
    """It was saved amid its training by Keras 2, whose optimizer nobody here knows."""
    with program(TFPOD_MODELS=f"pitch={package / _MODEL}", TFPOD_MAX_BATCH_ROWS="1") as pod:
        api, admin = pod.urls()
        until_ready(admin)
        status, text = get(f"{api}/v2/models/pitch")
        assert status == 200
        ((name, shape),) = [(tensor["name"], tensor["shape"]) for tensor in json.loads(text)["inputs"]]
        assert (name, shape) == ("input_2", [-1, _SAMPLES, 1])
        status, text = get(f"{api}/v1/models/pitch:predict", json.dumps({"instances": sine().tolist()}).encode())
        assert status == 200
        (row,) = json.loads(text)["predictions"]
        expected = LiteRtRunner(package / f"{_MODEL}.tflite", 2)
        (signature,) = expected.signatures
        (given,) = expected.signatures[signature].inputs
        outputs = {array.shape: array for array in expected.run(signature, {given: sine()}).values()}
        assert np.mean(row["note"], axis=0).argmax() == _A4
        np.testing.assert_allclose(np.array([row["contour"]]), outputs[1, 172, 264].astype(np.float32), atol=5e-3)
