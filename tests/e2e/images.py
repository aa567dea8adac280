"""The images under test: built from the project's Dockerfile, or given."""

import json
import os
from typing import NamedTuple

from tests.cluster.host import REPOSITORY, run
from tests.cluster.images import load
from tests.e2e.target import CommandError, Target

#: The Dockerfile's targets.
_STAGES = ("pod", "adapter", "pod-litert")


class Images(NamedTuple):
    """The images under test, as NAME:TAG."""

    pod: str
    adapter: str
    #: The pod without TensorFlow; empty where a given cluster has none.
    litert: str


def provide(target: Target) -> Images:
    """Build the images and load them into the test cluster, or take those that the environment names.

    A given cluster gets them by TFPOD_E2E_IMAGE, TFPOD_E2E_ADAPTER_IMAGE and, if there is one, TFPOD_E2E_LITERT_IMAGE:
    NAME:TAG that its nodes can pull or have.
    """
    given = Images(*(os.environ.get(f"TFPOD_E2E_{name}IMAGE", "") for name in ("", "ADAPTER_", "LITERT_")))
    if given.pod and given.adapter:
        return given
    if not target.own:
        raise CommandError("a given cluster needs TFPOD_E2E_IMAGE and TFPOD_E2E_ADAPTER_IMAGE")
    images = Images("localhost/tfpod:e2e", "localhost/tfpod-adapter:e2e", "localhost/tfpod-litert:e2e")
    for stage, image in zip(_STAGES, images, strict=True):
        options = ["--layers", "--isolation", "chroot", "--network", "host", "--target", stage, "--tag", image]
        run("buildah", "build", "--quiet", *options, ".", cwd=REPOSITORY)
    load(*images)
    return images


def megabytes(image: str) -> float:
    """Return what an image built here takes on a node's disk."""
    (found,) = json.loads(run("buildah", "images", "--json", image))
    size, unit = found["size"].split()
    return float(size) * {"KB": 1e-3, "MB": 1.0, "GB": 1e3}[unit]
