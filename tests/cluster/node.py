"""The first process in the cluster's namespaces: prepares the node, starts its components, ends when one ends.

Run by `up` only, never by hand: it mounts over /run, /var/log and /var/lib/cni, which only its own mount namespace
hides from the machine.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.host import (
    LOGS,
    NODE,
    NODE_ADDRESS,
    POD_NETWORK,
    SERVICE_NETWORK,
    STATE,
    ClusterError,
    cgroups,
    run,
    wait_for,
)
from tests.cluster.pki import PKI, kubeconfig

_ETCD = "http://127.0.0.1:2379"

_STORE = {
    "etcd": [
        "etcd", f"--data-dir={STATE}/etcd", "--unsafe-no-fsync",
        f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
    ],
    "containerd": ["containerd", f"--config={STATE}/config/containerd.toml"],
    "kube-apiserver": [
        "kube-apiserver", f"--etcd-servers={_ETCD}", f"--advertise-address={NODE_ADDRESS}", "--secure-port=6443",
        f"--service-cluster-ip-range={SERVICE_NETWORK}", "--authorization-mode=Node,RBAC", "--allow-privileged",
        "--enable-admission-plugins=NodeRestriction",
        f"--tls-cert-file={PKI}/apiserver.crt", f"--tls-private-key-file={PKI}/apiserver.key",
        f"--client-ca-file={PKI}/ca.crt",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={PKI}/service-accounts.crt",
        f"--service-account-signing-key-file={PKI}/service-accounts.key",
        f"--kubelet-client-certificate={PKI}/admin.crt", f"--kubelet-client-key={PKI}/admin.key",
        f"--kubelet-certificate-authority={PKI}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",  # the node's name resolves nowhere
        # How it presents itself to aggregated APIs, the metrics adapter among them.
        f"--requestheader-client-ca-file={PKI}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={PKI}/front-proxy.crt", f"--proxy-client-key-file={PKI}/front-proxy.key",
        "--enable-aggregator-routing",
    ],
}  # fmt: skip

_CONTROLLERS = {
    "kube-controller-manager": [
        "kube-controller-manager", f"--kubeconfig={kubeconfig('controller-manager')}",
        f"--authentication-kubeconfig={kubeconfig('controller-manager')}",
        f"--authorization-kubeconfig={kubeconfig('controller-manager')}",
        f"--service-account-private-key-file={PKI}/service-accounts.key", f"--root-ca-file={PKI}/ca.crt",
        f"--cluster-signing-cert-file={PKI}/ca.crt", f"--cluster-signing-key-file={PKI}/ca.key",
        "--allocate-node-cidrs", f"--cluster-cidr={POD_NETWORK}", f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--use-service-account-credentials", "--leader-elect=false",
    ],
    "kube-scheduler": ["kube-scheduler", f"--kubeconfig={kubeconfig('scheduler')}", "--leader-elect=false"],
    "kubelet": [
        "kubelet", f"--config={STATE}/config/kubelet.yaml", f"--kubeconfig={kubeconfig('kubelet')}",
        f"--hostname-override={NODE}", f"--node-ip={NODE_ADDRESS}", f"--root-dir={STATE}/kubelet",
    ],
    "kube-proxy": [
        "kube-proxy", f"--kubeconfig={kubeconfig('proxy')}", f"--hostname-override={NODE}",
        f"--cluster-cidr={POD_NETWORK}", "--proxy-mode=iptables",
        "--conntrack-max-per-core=0",  # the limit belongs to the machine
    ],
}  # fmt: skip


def main() -> None:
    _prepare()
    _connect()
    names = {_start(name, command): name for name, command in _STORE.items()}
    wait_for(_api_ready, 90, "the API server is not ready")
    names |= {_start(name, command): name for name, command in _CONTROLLERS.items()}
    while True:  # as the first process it also inherits the children of containers that ended
        ended, status = os.wait()
        if ended in names:
            code = os.waitstatus_to_exitcode(status)
            sys.exit(f"{names[ended]} ended ({code}); see {LOGS / names[ended]}.log")


def _prepare() -> None:
    """Make the cluster's control groups, and mount its folders where containerd, CNI and the kubelet must write."""
    for root in cgroups():
        root.mkdir(exist_ok=True)
    for folder, name in {"/run": "run", "/var/log": "log", "/var/lib/cni": "cni"}.items():
        (STATE / name).mkdir(exist_ok=True)
        Path(folder).mkdir(exist_ok=True)
        run("mount", "--bind", STATE / name, folder)


def _connect() -> None:
    """Give the namespace the node's address, and a default route that leads nowhere: no packet leaves it."""
    for command in (
        "link set lo up",
        "link add node0 type veth peer name nowhere",
        f"addr add {NODE_ADDRESS}/24 dev node0",
        "link set node0 up",
        "link set nowhere up",
        "route add default via 10.89.0.254 dev node0",
    ):
        run("ip", *command.split())
    run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1")


def _start(name: str, command: list[str]) -> int:
    with (LOGS / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).pid


def _api_ready() -> bool:
    try:
        run("kubectl", "get", "--raw", "/readyz")
    except ClusterError:
        time.sleep(0.3)
        return False
    return True


if __name__ == "__main__":
    try:
        main()
    except ClusterError as error:
        sys.exit(str(error))
