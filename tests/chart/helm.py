"""Runs the helm binary and reads what it renders."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.host import CACHE

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/tfpod"
ADAPTER = ROOT / "charts/tfpod-adapter"

Manifest = dict[str, Any]


def binary() -> str:
    """Return helm: $HELM, the one on PATH, or the test cluster's; skip the test without one."""
    found = os.environ.get("HELM") or shutil.which("helm") or shutil.which("helm", path=CACHE / "bin")
    return found or pytest.skip("helm is not installed: neither $HELM nor on PATH nor built for the test cluster")


def run(*args: str | Path) -> str:
    """Return what helm prints; raises CalledProcessError, with helm's words in `stderr`."""
    return subprocess.run([binary(), *map(str, args)], check=True, capture_output=True, text=True).stdout


def sets(values: Iterable[str]) -> list[str]:
    """Return helm's options for values like `gpu.count=1`; those beginning with `json:` or `text:` are read as such."""
    options = {"json": "--set-json", "text": "--set-string"}
    parts = (value.partition(":") for value in values)
    return [
        f"{options[kind]}={rest}" if kind in options else f"--set={kind}{colon}{rest}" for kind, colon, rest in parts
    ]


_run_once = cache(run)


def render(*values: str, chart: Path = CHART, release: str = "demo", options: Iterable[str] = ()) -> list[Manifest]:
    """Return the chart's objects for values as in `sets`."""
    output = _run_once("template", release, chart, "--namespace", "apps", *options, *sets(values))
    return [manifest for manifest in yaml.safe_load_all(output) if manifest]


def refusal(*values: str, chart: Path = CHART) -> str:
    """Return the message with which helm refuses the values."""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        render(*values, chart=chart)
    return str(caught.value.stderr)


def one(manifests: list[Manifest], kind: str, name: str = "demo-tfpod") -> Manifest:
    """Return the only object of this kind and name."""
    (manifest,) = (m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name))
    return manifest


def kinds(manifests: list[Manifest]) -> set[str]:
    """Return the kinds among the objects."""
    return {manifest["kind"] for manifest in manifests}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return every pod or pod template by KIND/NAME, each with `metadata` and `spec`."""
    found = {}
    for manifest in manifests:
        pod = manifest if manifest["kind"] == "Pod" else manifest.get("spec", {}).get("template")
        if pod:
            found[f"{manifest['kind']}/{manifest['metadata']['name']}"] = pod
    return found


def environment(pod: Manifest) -> dict[str, str]:
    """Return the environment of a pod's only container, without what comes from elsewhere."""
    (container,) = pod["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}
