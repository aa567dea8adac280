"""skaffold.yaml is valid for Skaffold, and names what the chart and the Dockerfile have."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.chart import helm

MODULE = "github.com/GoogleContainerTools/skaffold/v2@v2.16.1"  # the newest with v4beta13


@pytest.fixture(scope="module")
def config() -> Any:
    return yaml.safe_load((helm.ROOT / "skaffold.yaml").read_text())


@pytest.fixture(scope="module")
def schema() -> Any:
    """Skaffold's own schema, out of its Go module."""
    if not (go := shutil.which("go")):
        pytest.skip("Go is not installed, and only Skaffold's Go module has its schema")
    download = subprocess.run([go, "mod", "download", "-json", MODULE], check=False, capture_output=True, text=True)
    if download.returncode:
        pytest.skip(f"Skaffold's Go module cannot be had: {download.stdout or download.stderr}")
    return json.loads(
        (Path(json.loads(download.stdout)["Dir"]) / "docs-v2/content/en/schemas/v4beta13.json").read_text()
    )


def test_it_is_valid_for_skaffold(config: Any, schema: Any) -> None:
    assert config["apiVersion"] == "skaffold/v4beta13"
    jsonschema.validate(config, schema)


def test_it_builds_targets_that_the_dockerfile_has(config: Any) -> None:
    stages = [
        line.split()[-1] for line in (helm.ROOT / "Dockerfile").read_text().splitlines() if line.startswith("FROM")
    ]
    assert (
        {artifact["docker"]["target"] for artifact in config["build"]["artifacts"]} == {"pod", "adapter"} <= set(stages)
    )


def test_the_chart_deploys_the_images_that_were_built(config: Any) -> None:
    (release,) = config["deploy"]["helm"]["releases"]
    built = {artifact["image"] for artifact in config["build"]["artifacts"]}
    templates = {key: _rendered(template, built) for key, template in release["setValueTemplates"].items()}
    manifests = helm.render(*(f"{key}={value}" for key, value in templates.items()), release=release["name"])
    pods = helm.pods(manifests)
    images = {
        name: pod["spec"]["containers"][0]["image"] for name, pod in pods.items() if name.startswith("Deployment")
    }
    assert images == {"Deployment/tfpod": "tfpod:built", "Deployment/tfpod-adapter": "tfpod-adapter:built"}
    assert release["chartPath"] == str(helm.CHART.relative_to(helm.ROOT))
    (forward,) = config["portForward"]
    service = helm.one(manifests, "Service", forward["resourceName"])
    assert forward["port"] == service["spec"]["ports"][0]["port"]


def _rendered(template: str, images: set[str]) -> str:
    """Put the names of built images where Skaffold puts them; its names have _ for -."""
    for image in images:
        name = image.replace("-", "_")
        template = template.replace(f"{{{{.IMAGE_REPO_{name}}}}}", image).replace(f"{{{{.IMAGE_TAG_{name}}}}}", "built")
    return template
