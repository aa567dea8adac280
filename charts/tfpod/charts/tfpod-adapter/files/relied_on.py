#!/usr/bin/env python3
"""Fail, with advice, while HPAs of others rely on the metrics adapter that is about to be uninstalled."""

import json
import os
import ssl
import sys
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ADVICE = """\
Not uninstalled: the metrics adapter of release {release} serves the whole cluster, and these HPAs rely on it:
  {others}
To remove it all the same, uninstall those first, or hand it over: run
  helm uninstall {release} -n {namespace} --no-hooks
and at once `helm upgrade` one of the others, which installs the adapter anew; until then they keep the size they have.
To keep it, which Helm has marked as uninstalling by now: run
  helm rollback {release} {revision} -n {namespace}
"""


def main() -> int:
    """Return the exit code: 1 while others rely on the adapter."""
    release = {name: os.environ[name.upper()] for name in ("release", "revision", "namespace")}
    others = reliant(list_hpas(), release["release"], release["namespace"])
    if others:
        sys.stdout.write(ADVICE.format(**release, others="\n  ".join(others)))
    return 1 if others else 0


def reliant(hpas: list[dict[str, Any]], release: str, namespace: str) -> list[str]:
    """Return NAMESPACE/NAME of the HPAs that ask for a metric of tfpod and do not belong to the release."""
    others = []
    for hpa in hpas:
        meta = hpa["metadata"]
        owner = meta["namespace"], meta.get("labels", {}).get("app.kubernetes.io/instance")
        if owner != (namespace, release) and _asks_tfpod(hpa):
            others.append(f"{meta['namespace']}/{meta['name']}")
    return others


def list_hpas() -> list[dict[str, Any]]:
    """Return all HPAs of the cluster."""
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
    connection = HTTPSConnection(host, port, context=context, timeout=30)
    token = (ACCOUNT / "token").read_text()
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    connection.request("GET", "/apis/autoscaling/v2/horizontalpodautoscalers", headers=headers)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        sys.exit(f"Not uninstalled: listing the HPAs failed with status {response.status}; --no-hooks leaves this out.")
    hpas: list[dict[str, Any]] = json.loads(body)["items"]
    return hpas


def _asks_tfpod(hpa: dict[str, Any]) -> bool:
    metrics = hpa["spec"].get("metrics") or []
    return any(metric.get("pods", {}).get("metric", {}).get("name", "").startswith("tfpod_") for metric in metrics)


if __name__ == "__main__":
    sys.exit(main())
