"""A release of the chart under test: installs it with small, quick values and reads what the cluster makes of it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

import yaml

from tests.cluster.host import REPOSITORY
from tests.e2e.images import Images
from tests.e2e.target import CommandError, Target

TOKEN = "a-token-of-the-end-to-end-tests"
GOAL = 5  # requests a second for each pod
CHART = "charts/tfpod"
SAMPLE = REPOSITORY / "models/digits/sample.json"
PREDICT = "/v1/models/digits:predict"

_BELONGS = ("app.kubernetes.io/instance", "owner=helm,name")  # labels of its objects, and of Helm's records


class Metric(NamedTuple):
    """One reading of a metric through the API server."""

    values: dict[str, float]  # by pod
    taken: datetime

    @property
    def age(self) -> float:
        """Seconds since the oldest of the values was taken."""
        return (datetime.now(UTC) - self.taken).total_seconds()


class Release(AbstractContextManager["Release"]):
    """One release in a namespace of its own: a context that uninstalls it and removes the namespace at its end."""

    def __init__(self, target: Target, images: Images, name: str, overrides: dict[str, Any] | None = None) -> None:
        self.target = target
        self.name = name
        self.namespace = f"{name}-e2e"
        self.host = f"{name}.test"
        self._values = _values(images, self.host)
        self._overrides = overrides or {}

    def __enter__(self) -> Self:
        """Install into a fresh namespace of restricted Pod Security, and return when every pod is ready."""
        namespace = yaml.safe_load((REPOSITORY / "k8s/namespace.yaml").read_text())
        namespace["metadata"]["name"] = self.namespace
        self.target.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(namespace))
        try:
            self.apply()
        except CommandError as error:
            error.add_note(self._describe())
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove everything, whatever state it is in."""
        self.target.run("helm", "uninstall", self.name, "--namespace", self.namespace, "--ignore-not-found", "--wait")
        self.target.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=120s")

    def apply(self, **overrides: Any) -> str:
        """Install or upgrade with values besides those so far, named with __ for a dot; return helm's notes."""
        self._overrides |= {name.replace("__", "."): value for name, value in overrides.items()}
        given = [f"--set-json={name}={json.dumps(value)}" for name, value in self._overrides.items()]
        options = ["--namespace", self.namespace, "--wait", "--timeout", "5m", "--values", "-"]
        return self.target.helm(
            "upgrade", "--install", self.name, CHART, *options, *given, stdin=json.dumps(self._values)
        )

    @property
    def full_name(self) -> str:
        """The name of the release's Deployment, Service, HPA and Ingress."""
        return self.name if "tfpod" in self.name else f"{self.name}-tfpod"

    @property
    def selector(self) -> str:
        """The labels of its server pods."""
        return f"app.kubernetes.io/name=tfpod,app.kubernetes.io/instance={self.name},app.kubernetes.io/component=server"

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the release's namespace."""
        return self.target.kubectl("--namespace", self.namespace, *arguments)

    def curl(self, path: str, *options: str) -> tuple[int, str]:
        """Ask through the ingress; return the status and the body."""
        said = self.target.run("curl", "--silent", "--max-time", "20", "--header", f"Host: {self.host}",
            "--write-out", "\n%{http_code}", *options, f"{self.target.ingress}{path}")  # fmt: skip
        body, _, status = said.rpartition("\n")
        return int(status), body

    def load(self, steps: Sequence[tuple[float, float]]) -> AbstractContextManager["subprocess.Popen[str]"]:
        """Offer predictions through the ingress beside a block, in steps of (requests a second, seconds)."""
        return self.target.running(
            sys.executable, "-m", "benchmarks.load", f"{self.target.ingress}{PREDICT}", f"--body={SAMPLE}",
            f"--header=Host: {self.host}", f"--header=Authorization: Bearer {TOKEN}",
            f"--steps={','.join(f'{rate}:{seconds}' for rate, seconds in steps)}",
        )  # fmt: skip

    def pods(self) -> dict[str, bool]:
        """Return its server pods by name, and whether each is ready and to stay."""
        pods = self.target.get(f"/api/v1/namespaces/{self.namespace}/pods?{self._query}")["items"]
        return {pod["metadata"]["name"]: _serves(pod) for pod in pods}

    def remains(self) -> list[str]:
        """Return every object in the cluster, of whatever kind, that bears the release's name or is Helm's record."""
        kinds = self.target.kubectl("api-resources", "--verbs=list", "--output=name").split()
        everything = ["get", ",".join(kinds), "--all-namespaces", "--output=name"]
        found = [self.target.kubectl(*everything, f"--selector={label}={self.name}") for label in _BELONGS]
        return [name for names in found for name in names.split()]

    def deployment(self) -> Any:
        """Read the Deployment."""
        return self.target.get(f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{self.full_name}")

    def hpa(self) -> Any:
        """Read the HorizontalPodAutoscaler."""
        path = f"/apis/autoscaling/v2/namespaces/{self.namespace}/horizontalpodautoscalers/{self.full_name}"
        return self.target.get(path)

    def observed(self, metric: str) -> float | None:
        """Return the mean of a metric over the pods as the HPA read it last, None while it is unknown."""
        for each in self.hpa()["status"].get("currentMetrics") or []:
            if each.get("pods", {}).get("metric", {}).get("name") == metric:
                return quantity(each["pods"]["current"]["averageValue"])
        return None

    def metric(self, name: str) -> Metric | None:
        """Read a metric of the pods as the HPA reads it, None where nobody serves it."""
        path = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{self.namespace}/pods/*/{name}"
        if (answer := self.target.get(f"{path}?{self._query}")) is None:
            return None
        values = {item["describedObject"]["name"]: quantity(item["value"]) for item in answer["items"]}
        return Metric(values, min(datetime.fromisoformat(item["timestamp"]) for item in answer["items"]))

    def _describe(self) -> str:
        """Tell what a person would look at first when an installation fails."""
        commands = (
            "get pods --output=wide",
            "get events --sort-by=.lastTimestamp",
            f"logs --prefix --tail=20 --selector={self.selector}",
        )
        return "\n".join(self.kubectl(*command.split()) for command in commands)

    @property
    def _query(self) -> str:
        return urlencode({"labelSelector": self.selector})


def finish(generator: "subprocess.Popen[str]") -> dict[str, Any]:
    """Stop a load that runs, wait for its last answers, and return its report."""
    generator.terminate()
    report: dict[str, Any] = json.loads(generator.communicate()[0])
    return report


def quantity(text: str) -> float:
    """Read a Kubernetes quantity without a binary suffix: 12, 1500m, 3k."""
    scale = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6}
    return float(text[:-1]) * scale[text[-1]] if text[-1] in scale else float(text)


def _serves(pod: Any) -> bool:
    ready = {"type": "Ready", "status": "True"}
    conditions = pod["status"].get("conditions", [])
    return "deletionTimestamp" not in pod["metadata"] and any(ready.items() <= each.items() for each in conditions)


def _values(images: Images, host: str) -> dict[str, Any]:
    """Small pods, a target that a small machine can exceed, and a scale-in that a test can wait for."""

    def image(name: str) -> dict[str, str]:
        repository, _, tag = name.rpartition(":")
        return {"repository": repository, "tag": tag}

    return {
        "image": image(images.pod),
        "adapter": {"image": image(images.adapter)},
        "auth": {"tokens": [TOKEN]},
        "ingress": {"enabled": True, "host": host},
        # Pods that start take a fair half of a core each, or they would starve those that serve.
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "1Gi"}},
        "autoscaling": {
            "maxReplicas": 5,
            "requestsPerSecond": GOAL,
            "behavior": {
                "scaleDown": {
                    "stabilizationWindowSeconds": 30,
                    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                }
            },
        },
    }
