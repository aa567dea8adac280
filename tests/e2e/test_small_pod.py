"""The pod without TensorFlow, by the chart's value for it: a small image, in little memory, and both bundled models."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.cluster.images import PYTHON as BASE
from tests.e2e.images import Images, megabytes
from tests.e2e.release import TOKEN, Release
from tests.e2e.target import Target, eventually
from tests.speech import spoken, voice

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def release(target: Target, images: Images) -> Iterator[Release]:
    if not images.litert:
        pytest.skip("set TFPOD_E2E_LITERT_IMAGE to an image of the pod without TensorFlow")
    values = {
        "runtime": "litert",
        "model.others": {"speech": "/app/models/speech"},
        "autoscaling.enabled": False,
        "resources.limits.memory": "256Mi",
    }
    with Release(target, images._replace(pod=images.litert), "small", values) as installed:
        yield installed


def test_its_image_is_small(target: Target, images: Images, show: Callable[[object], None]) -> None:
    """Counted beyond the base image: the official one has 130 MB."""
    if not target.own:
        pytest.skip("the images of a given cluster are not at hand")
    base = megabytes(BASE)
    sizes = {name: megabytes(image) - base for name, image in images._asdict().items()}
    show({f"MB of the image {name} beyond its base": round(size) for name, size in sizes.items()})
    assert sizes["litert"] < 120


def test_it_predicts(release: Release) -> None:
    assert "Phase:          Succeeded" in release.target.helm("test", release.name, "--namespace", release.namespace)


@pytest.mark.usefixtures("ingress")
def test_it_hears(release: Release, tmp_path: Path) -> None:
    (tmp_path / "speech.wav").write_bytes(spoken.file(np.frombuffer(voice.sentences(2), "<i2"), voice.RATE))
    bearer = ("--header", f"Authorization: Bearer {TOKEN}")
    eventually(lambda: release.curl("/v2/health/ready")[0] == 200, 30, "the ingress does not route to the release")
    status, body = release.curl("/v1/transcribe", *bearer, "--data-binary", f"@{tmp_path}/speech.wav")
    assert status == 200
    assert json.loads(body)["text"]
