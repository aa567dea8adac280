"""What the adapter says, in the shapes of the Kubernetes API: discovery, metric values and refusals.

Sources: pkg/apis/custom_metrics/{v1beta1,v1beta2}/types.go of k8s.io/metrics, pkg/apis/meta/v1/types.go of
k8s.io/apimachinery.
"""

import time
from typing import Any, Final

GROUP: Final = "custom.metrics.k8s.io"
#: The preferred version first.
VERSIONS: Final = ("v1beta2", "v1beta1")
METRICS: Final = (
    "tfpod_gpu_utilization_percent",
    "tfpod_inflight_requests",
    "tfpod_model_busy_percent",
    "tfpod_queue_rows",
    "tfpod_requests_per_second",
)


class Refusal(Exception):
    """An answer other than the one asked for: an HTTP status, its Kubernetes reason, a sentence."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    def body(self) -> dict[str, Any]:
        """Return the Status object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }


def groups() -> dict[str, Any]:
    """Return the APIGroupList of `/apis`."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group()]}


def group() -> dict[str, Any]:
    """Return the APIGroup of `/apis/custom.metrics.k8s.io`."""
    return {"kind": "APIGroup", "apiVersion": "v1"} | _group()


def resources(version: str) -> dict[str, Any]:
    """Return the APIResourceList of one version: a resource `pods/METRIC` for every metric."""
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{GROUP}/{version}",
        "resources": [
            {
                "name": f"pods/{metric}",
                "singularName": "",
                "namespaced": True,
                "kind": "MetricValueList",
                "verbs": ["get"],
            }
            for metric in METRICS
        ],
    }


def values(version: str, namespace: str, metric: str, found: list[tuple[str, float, int]]) -> dict[str, Any]:
    """Return the MetricValueList of `found`: pod name, Unix time of its reading, value in thousandths."""
    named: dict[str, Any] = {"metric": {"name": metric, "selector": None}}
    if version == "v1beta1":
        named = {"metricName": metric, "selector": None}
    return {
        "kind": "MetricValueList",
        "apiVersion": f"{GROUP}/{version}",
        "metadata": {},
        "items": [
            {
                "describedObject": {"kind": "Pod", "namespace": namespace, "name": pod, "apiVersion": "v1"},
                **named,
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(read)),
                "value": quantity(milli),
            }
            for pod, read, milli in found
        ],
    }


def quantity(milli: int) -> str:
    """Return so many thousandths as a Quantity: 1500 as "1500m", 2000 as "2"."""
    whole, rest = divmod(milli, 1000)
    return f"{milli}m" if rest else str(whole)


def _group() -> dict[str, Any]:
    versions = [{"groupVersion": f"{GROUP}/{version}", "version": version} for version in VERSIONS]
    return {"name": GROUP, "versions": versions, "preferredVersion": versions[0]}
