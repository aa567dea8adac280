"""A stand-in for the API server with just enough in it for `helm install --dry-run=server`: discovery, get and list."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.chart import helm

# What the charts look up or make; a resource is called like its kind, in small letters and with an s.
KINDS = {
    "v1": ["Namespace", "Secret", "Service", "ServiceAccount"],
    "apps/v1": ["Deployment"],
    "autoscaling/v2": ["HorizontalPodAutoscaler"],
    "networking.k8s.io/v1": ["Ingress"],
    "policy/v1": ["PodDisruptionBudget"],
    "rbac.authorization.k8s.io/v1": ["ClusterRole", "ClusterRoleBinding", "RoleBinding"],
    "apiregistration.k8s.io/v1": ["APIService"],
}
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "APIService"}


def plan(*values: str, cluster: list[helm.Manifest], chart: Path = helm.CHART) -> tuple[list[helm.Manifest], str]:
    """Return the objects and the notes of `helm install demo` in a cluster with these objects."""
    with serving(*cluster) as url:
        server = ["--kubeconfig=/dev/null", f"--kube-apiserver={url}", "--disable-openapi-validation"]
        options = ["--namespace=apps", "--dry-run=server", "--output=json", *server, *helm.sets(values)]
        release = json.loads(helm.run("install", "demo", chart, *options))
    return [m for m in yaml.safe_load_all(release["manifest"]) if m], release["info"].get("notes", "")


@contextmanager
def serving(*objects: helm.Manifest) -> Iterator[str]:
    """Serve a cluster with these objects; yields the URL. APIServices of the system's own are always there."""
    known = [*objects, api_service("v1."), api_service("v1.apps")]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(urlsplit(self.path).path, known)
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def api_service(name: str) -> helm.Manifest:
    """Return an APIService called VERSION.GROUP."""
    version, _, group = name.partition(".")
    kind = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
    return {**kind, "metadata": {"name": name}, "spec": {"group": group, "version": version}}


def installed(manifest: helm.Manifest, release: str, namespace: str = "apps", **labels: str) -> helm.Manifest:
    """Return the object as Helm marks those of a release."""
    annotations = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}
    labels = {f"app.kubernetes.io/{key}": value for key, value in labels.items()}
    labels |= {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": release}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations, "labels": labels}}


def answer(path: str, objects: list[helm.Manifest]) -> tuple[int, Any]:
    """Return status and body of a GET."""
    if path == "/version":
        return 200, {"major": "1", "minor": "34", "gitVersion": "v1.34.4"}
    if path == "/api":
        return 200, {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(v) for v in KINDS if v != "v1"]}
    version, _, rest = path.removeprefix("/apis/").removeprefix("/api/").partition("/")
    if version != "v1":
        part, _, rest = rest.partition("/")
        version = f"{version}/{part}"
    if version not in KINDS:
        return _missing()
    return _resource(version, rest.split("/") if rest else [], objects)


def _group(version: str) -> Any:
    entry = {"groupVersion": version, "version": version.partition("/")[2]}
    return {"name": version.partition("/")[0], "versions": [entry], "preferredVersion": entry}


def _resource(version: str, path: list[str], objects: list[helm.Manifest]) -> tuple[int, Any]:
    """Answer discovery of a group, a list or one object, below `[namespaces/NAMESPACE/]RESOURCE[/NAME]`."""
    if not path:
        resources = [_description(kind) for kind in KINDS[version]]
        return 200, {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
    namespace = path[1] if path[0] == "namespaces" and len(path) > 2 else None
    resource, *name = path[2:] if namespace else path
    kind = next((kind for kind in KINDS[version] if f"{kind.lower()}s" == resource), None)
    items = [o for o in objects if o["kind"] == kind and namespace in {None, o["metadata"].get("namespace")}]
    if not name:
        return 200, {"kind": f"{kind}List", "apiVersion": version, "items": items}
    return next(((200, o) for o in items if o["metadata"]["name"] == name[0]), _missing())


def _description(kind: str) -> Any:
    namespaced = kind not in CLUSTER_WIDE
    return {"name": f"{kind.lower()}s", "kind": kind, "namespaced": namespaced, "verbs": ["get", "list"]}


def _missing() -> tuple[int, Any]:
    return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
