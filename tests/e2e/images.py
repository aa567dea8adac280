"""The images under test: built from the project's Dockerfile, or given."""

import os
from typing import NamedTuple

from tests.cluster.host import REPOSITORY, run
from tests.cluster.images import load
from tests.e2e.target import CommandError, Target


class Images(NamedTuple):
    """The images under test, as NAME:TAG."""

    pod: str
    adapter: str


def provide(target: Target) -> Images:
    """Build both images and load them into the test cluster, or take those that the environment names.

    A given cluster gets them by TFPOD_E2E_IMAGE and TFPOD_E2E_ADAPTER_IMAGE: NAME:TAG that its nodes can pull or have.
    """
    given = Images(os.environ.get("TFPOD_E2E_IMAGE", ""), os.environ.get("TFPOD_E2E_ADAPTER_IMAGE", ""))
    if all(given):
        return given
    if not target.own:
        raise CommandError("a given cluster needs TFPOD_E2E_IMAGE and TFPOD_E2E_ADAPTER_IMAGE")
    images = Images("localhost/tfpod:e2e", "localhost/tfpod-adapter:e2e")
    for stage, image in images._asdict().items():
        options = ["--layers", "--isolation", "chroot", "--network", "host", "--target", stage, "--tag", image]
        run("buildah", "build", "--quiet", *options, ".", cwd=REPOSITORY)
    load(*images)
    return images
