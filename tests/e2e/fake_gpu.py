"""GPUs without hardware for the pods of a release: a resource to request, a driver that answers what a test plays."""

import json
import tempfile
import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from tests import fake_nvml
from tests.e2e.target import Target

_RESOURCE = "tfpod.test/gpu"
_CAPACITY = f"/status/capacity/{_RESOURCE.replace('/', '~1')}"
_PER_NODE = "8"
_FOLDER = "/opt/fake-nvml"


class FakeGpus(AbstractContextManager["FakeGpus"]):
    """A context, entered before the release: every node offers the resource; two ConfigMaps in the release's namespace
    hold the library and what it answers.
    """

    def __init__(self, target: Target, release: str) -> None:
        self._target = target
        self._namespace = f"{release}-e2e"
        self._played: dict[str, int] = {}

    @staticmethod
    def possible() -> bool:
        """Tell whether this machine can compile the library."""
        return fake_nvml.compiler() is not None

    @property
    def values(self) -> dict[str, Any]:
        """The chart's values that give the pods these GPUs."""
        mounts = {"fake-nvml": f"{_FOLDER}/lib", "fake-gpus": f"{_FOLDER}/state"}
        return {
            "gpu": {"count": 1, "resourceName": _RESOURCE},
            "extraVolumes": [{"name": name, "configMap": {"name": name}} for name in mounts],
            "extraVolumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
            "extraEnv": [
                {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "LD_LIBRARY_PATH", "value": f"{_FOLDER}/lib"},
                {"name": "FAKE_NVML_FILE", "value": f"{_FOLDER}/state/$(POD)"},
            ],
        }

    def __enter__(self) -> Self:
        """Offer the resource, and make the namespace and both ConfigMaps."""
        self._offer({"op": "add", "path": _CAPACITY, "value": _PER_NODE})
        with tempfile.TemporaryDirectory() as folder:
            library = fake_nvml.build(Path(folder))
            binary = {library.name: b64encode(library.read_bytes()).decode()}
        self._apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}})
        self._apply(self._config_map("fake-nvml") | {"binaryData": binary})
        self._apply(self._config_map("fake-gpus"))
        return self

    def __exit__(self, *_: object) -> None:
        """Withdraw the resource; the ConfigMaps go with the namespace."""
        self._offer({"op": "remove", "path": _CAPACITY})

    def play(self, percent: Mapping[str, float]) -> None:
        """Let the GPU of each named pod be busy for so much of the time, at most 100, from about now on."""
        busy = {pod: min(100, round(share)) for pod, share in percent.items()}
        if busy == self._played:
            return
        self._played = busy
        self._apply(self._config_map("fake-gpus") | {"data": {pod: f"utilization {n}\n" for pod, n in busy.items()}})
        # The kubelet brings a changed ConfigMap into a pod when it looks at that pod, which a change of the pod causes.
        self._kubectl("annotate", "--overwrite", "--all", "pods", f"fake-gpus={time.monotonic_ns()}")

    def _offer(self, patch: dict[str, str]) -> None:
        for node in self._target.get("/api/v1/nodes")["items"]:
            options = ["--subresource=status", "--type=json", f"--patch={json.dumps([patch])}"]
            self._kubectl("patch", "node", node["metadata"]["name"], *options)

    def _config_map(self, name: str) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": self._namespace}}

    def _apply(self, manifest: dict[str, Any]) -> None:
        self._kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))

    def _kubectl(self, *arguments: str, stdin: str | None = None) -> None:
        self._target.kubectl("--namespace", self._namespace, *arguments, stdin=stdin)
