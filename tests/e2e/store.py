"""A Redis in a release's namespace, with this machine's own program in it, so that no registry has to be reached."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.host import run
from tests.cluster.images import load
from tests.e2e.release import Release
from tests.e2e.target import CommandError, Target, eventually

PASSWORD = "a-password-of-the-end-to-end-tests"
URL = f"redis://:{PASSWORD}@redis:6379/0"
_IMAGE = "localhost/redis:e2e"


def provide(target: Target) -> str:
    """Return the name of an image of Redis that the cluster has, or can pull; skip the test if there is none."""
    if given := os.environ.get("TFPOD_E2E_REDIS_IMAGE"):
        return given
    if not target.own:
        pytest.skip("a given cluster needs TFPOD_E2E_REDIS_IMAGE, such as redis:7")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server (Debian: redis-server)")
    with tempfile.TemporaryDirectory() as name:
        context = Path(name)
        # The program and the libraries that its loader finds for it, each where it looks for it.
        for path in (program, *re.findall(r"(/\S+) \(0x", run("ldd", program))):
            copy = context / "root" / path.removeprefix("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        (context / "Dockerfile").write_text("FROM scratch\nCOPY root /\n")
        run("buildah", "build", "--quiet", "--isolation", "chroot", "--tag", _IMAGE, context)
    load(_IMAGE)
    return _IMAGE


def start(release: Release, image: str) -> None:
    """Start the Redis that URL names, and return when every pod of the release reaches it."""
    release.target.kubectl(
        "--namespace", release.namespace, "apply", "--server-side", "-f", "-", stdin=json.dumps(_manifests(image))
    )
    release.kubectl("wait", "--for=condition=Ready", "pod/redis", "--timeout=120s")
    eventually(lambda: all(map(_reached_by(release), release.pods())), 60, "Redis is not reached by its Service")


def _reached_by(release: Release) -> Callable[[str], bool]:
    """Return what tells whether a pod reaches it: routes to a Service come a while after the Service."""

    def reached(pod: str) -> bool:
        connect = "import socket; socket.create_connection(('redis', 6379), 5)"
        try:
            release.kubectl("exec", pod, "--", "python", "-c", connect)
        except CommandError:
            return False
        return True

    return reached


def _manifests(image: str) -> dict[str, Any]:
    labels = {"app": "redis"}
    container = {
        "name": "redis",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["redis-server", "--save", "", "--dir", "/data", "--requirepass", PASSWORD],
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    service = {"selector": labels, "ports": [{"port": 6379}]}
    named = {"metadata": {"name": "redis", "labels": labels}, "apiVersion": "v1"}
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [{"kind": "Pod", "spec": pod, **named}, {"kind": "Service", "spec": service, **named}],
    }
