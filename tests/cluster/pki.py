"""Makes the cluster's certificate authorities, certificates and kubeconfigs, for thirty days."""

import base64
from pathlib import Path

from tests.cluster.host import API_SERVICE, KUBECONFIG, NODE, NODE_ADDRESS, STATE, run

PKI = STATE / "pki"

# Who speaks to the API server with a kubeconfig: file name → (user, group).
_CLIENTS = {
    "admin": ("kubernetes-admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", "system:masters"),
    "scheduler": ("system:kube-scheduler", "system:masters"),
    "proxy": ("system:kube-proxy", "system:masters"),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
}
_API_NAMES = (
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,"
    f"DNS:localhost,IP:127.0.0.1,IP:{API_SERVICE},IP:{NODE_ADDRESS}"
)


def create() -> None:
    """Write every key, certificate and kubeconfig under the cluster's folder."""
    PKI.mkdir(parents=True)
    (PKI / "openssl.cnf").write_text("[req]\ndistinguished_name = name\n[name]\n")
    # The aggregator has an authority of its own: no client of the cluster may pass for the front proxy.
    for authority in ("ca", "front-proxy-ca"):
        _certificate(authority, f"/CN={authority}", ["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"])
    _leaf("service-accounts", "/CN=service-accounts")
    _leaf("front-proxy", "/CN=front-proxy-client", authority="front-proxy-ca")
    _leaf("apiserver", "/CN=kube-apiserver", names=_API_NAMES)
    for client, (user, group) in _CLIENTS.items():
        names = f"DNS:{NODE},IP:{NODE_ADDRESS}" if client == "kubelet" else ""
        _leaf(client, f"/O={group}/CN={user}", names=names)
        kubeconfig(client).write_text(_kubeconfig(client))


def kubeconfig(client: str) -> Path:
    """The kubeconfig of `admin`, `controller-manager`, `scheduler`, `proxy` or `kubelet`."""
    return KUBECONFIG if client == "admin" else PKI / f"{client}.kubeconfig"


def _leaf(name: str, subject: str, names: str = "", authority: str = "ca") -> None:
    usage = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature", "extendedKeyUsage=serverAuth,clientAuth"]
    _certificate(name, subject, [*usage, *([f"subjectAltName={names}"] if names else [])], authority)


def _certificate(name: str, subject: str, extensions: list[str], authority: str | None = None) -> None:
    """Write NAME.key and NAME.crt, signed by the authority or, without one, by itself."""
    signer = ["-CA", f"{PKI}/{authority}.crt", "-CAkey", f"{PKI}/{authority}.key"] if authority else []
    added = [part for extension in extensions for part in ("-addext", extension)]
    run(
        "openssl",
        "req",
        "-x509",
        "-config",
        PKI / "openssl.cnf",
        "-subj",
        subject,
        "-days",
        "30",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-noenc",
        "-keyout",
        PKI / f"{name}.key",
        "-out",
        PKI / f"{name}.crt",
        *signer,
        *added,
    )


def _kubeconfig(client: str) -> str:
    authority, certificate, key = (
        base64.b64encode((PKI / name).read_bytes()).decode() for name in ("ca.crt", f"{client}.crt", f"{client}.key")
    )
    return f"""\
apiVersion: v1
kind: Config
clusters:
  - {{name: test, cluster: {{server: "https://127.0.0.1:6443", certificate-authority-data: {authority}}}}}
users:
  - {{name: {client}, user: {{client-certificate-data: {certificate}, client-key-data: {key}}}}}
contexts:
  - {{name: test, context: {{cluster: test, user: {client}}}}}
current-context: test
"""
