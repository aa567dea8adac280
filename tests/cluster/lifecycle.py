"""Brings the cluster up with its name service and its ingress, and takes it down."""

import contextlib
import os
import re
import shutil
import sys
from pathlib import Path

from tests.cluster import build, host, images, pki
from tests.cluster.host import LOGS, NODE, STATE, ClusterError, kubectl, wait_for

_HERE = Path(__file__).parent


def up() -> None:
    """Start the cluster, or keep the one that runs; return when its ingress answers."""
    if os.geteuid() != 0:
        raise ClusterError("the cluster makes namespaces, mounts and control groups: run this as root")
    if host.pid() is not None and _node_ready():
        return
    down()  # what a crash, an interrupted start or a reboot left behind
    build.build()
    images.make()
    _start()
    images.load(images.PAUSE, images.ADDONS)
    kubectl("apply", "-f", str(_HERE / "manifests"))
    kubectl("apply", "--server-side", "-f", "-", stdin=_contour())
    for namespace, workload in (
        ("kube-system", "deployment/coredns"),
        ("projectcontour", "deployment/contour"),
        ("projectcontour", "daemonset/envoy"),
    ):
        kubectl("--namespace", namespace, "rollout", "status", workload, "--timeout=180s")


def down() -> None:
    """Stop the cluster and remove all that it left on the machine; programs and images built once stay."""
    host.stop()


def _start() -> None:
    shutil.copytree(_HERE / "config", STATE / "config")
    LOGS.mkdir()
    pki.create()
    with contextlib.suppress(ClusterError):  # built into some kernels; where it is missing, the node says so
        host.run("modprobe", "br_netfilter")
    log = LOGS / "node.log"
    host.spawn(sys.executable, "-m", "tests.cluster.node", log=log)
    wait_for(lambda: host.pid() is None or _node_ready(), 120, "the node is not ready")
    if host.pid() is None:
        raise ClusterError(f"the cluster did not start: {log.read_text().strip()[-2000:]}")


def _node_ready() -> bool:
    ready = '{.status.conditions[?(@.type=="Ready")].status}'
    try:
        return kubectl("get", "node", NODE, f"--output=jsonpath={ready}", "--request-timeout=5s") == "True"
    except ClusterError:
        return False


def _contour() -> str:
    """Contour's own manifests with the local image in place of the published ones."""
    manifests = sorted((build.source(build.CONTOUR) / "examples/contour").glob("*.yaml"))
    text = "\n---\n".join(manifest.read_text() for manifest in manifests)
    text = re.sub(r"image: \S*(contour|envoy)\S*", f"image: {images.ADDONS}", text)
    return text.replace("imagePullPolicy: Always", "imagePullPolicy: Never")
