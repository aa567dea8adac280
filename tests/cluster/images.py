"""Makes the images that the cluster itself needs, without a registry, and copies images into the cluster."""

import os
import shutil
import tempfile
from pathlib import Path

from tests.cluster.host import CACHE, CONTAINERD, ClusterError, run

PAUSE = "localhost/pause:1"
ADDONS = "localhost/addons:core"
PYTHON = "docker.io/library/python:3.11-slim-bookworm"

_PAUSE = """\
FROM scratch
COPY pause /pause
ENTRYPOINT ["/pause"]
"""

# A stand-in for the official image, for machines that reach no registry. It trusts the authorities that this
# machine trusts, so that pip works behind a company's proxy too.
_PYTHON = """\
FROM scratch
ADD root.tar /
COPY authorities.crt /etc/ssl/certs/ca-certificates.crt
RUN ln -s /usr/bin/python3 /usr/local/bin/python3 && ln -s /usr/bin/python3 /usr/local/bin/python
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
CMD ["python3"]
"""
_PYTHON_PACKAGES = "ca-certificates,libstdc++6,python3,python3-venv"
_AUTHORITIES = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))

# Envoy needs a C library; the others need nothing.
_ADDONS = f"""\
FROM {PYTHON}
COPY coredns contour envoy /usr/local/bin/
RUN ln -s /usr/local/bin/contour /bin/contour
"""


def make() -> None:
    """Build the cluster's own images where buildah does not have them yet."""
    with tempfile.TemporaryDirectory() as name:
        context = Path(name)
        if not _exists(PAUSE):
            shutil.copy(CACHE / "bin/pause", context)
            _build(PAUSE, _PAUSE, context)
        if not _exists(PYTHON):
            run(
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                f"--include={_PYTHON_PACKAGES}",
                "bookworm",
                context / "root.tar",
            )
            shutil.copy(_AUTHORITIES, context / "authorities.crt")
            _build(PYTHON, _PYTHON, context)
        if not _exists(ADDONS):
            for program in ("coredns", "contour", "envoy"):
                shutil.copy(CACHE / "bin" / program, context)
            _build(ADDONS, _ADDONS, context)


def load(*images: str) -> None:
    """Copy images from buildah's store into the running cluster."""
    for image in images:
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "image.tar"
            run("buildah", "push", "--quiet", image, f"docker-archive:{archive}:{image}")
            run("ctr", "--address", CONTAINERD, "--namespace", "k8s.io", "images", "import", archive)


def _exists(image: str) -> bool:
    try:
        run("buildah", "inspect", "--type", "image", image)
    except ClusterError:
        return False
    return True


def _build(image: str, dockerfile: str, context: Path) -> None:
    (context / "Dockerfile").write_text(dockerfile)
    run("buildah", "build", "--quiet", "--isolation", "chroot", "--tag", image, context)
