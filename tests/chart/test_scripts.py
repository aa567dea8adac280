"""The programs that the charts' test pod and uninstall Job run."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest

from tests.chart import helm

Predict = Callable[[str, int, object], tuple[dict[str, Any], subprocess.CompletedProcess[str]]]


@pytest.fixture
def relied_on() -> ModuleType:
    """The uninstall Job's program, not run."""
    spec = importlib.util.spec_from_file_location("relied_on", helm.ADAPTER / "files/relied_on.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def autoscaler(name: str, metric: dict[str, Any], instance: str = "demo", namespace: str = "apps") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/instance": instance}}
    return {"metadata": metadata, "spec": {"metrics": [metric]}}


def pods_metric(name: str) -> dict[str, Any]:
    return {"type": "Pods", "pods": {"metric": {"name": name}}}


CPU = {"type": "Resource", "resource": {"name": "cpu"}}
RATE = pods_metric("tfpod_requests_per_second")


@pytest.mark.parametrize(
    ("hpa", "relies"),
    [
        (autoscaler("own", RATE), False),
        (autoscaler("neighbour", RATE, instance="two"), True),
        (autoscaler("namesake", RATE, namespace="b"), True),
        ({"metadata": {"name": "by-hand", "namespace": "apps"}, "spec": {"metrics": [CPU, RATE]}}, True),
        (autoscaler("cpu", CPU, instance="two"), False),
        (autoscaler("foreign", pods_metric("http_requests"), instance="two"), False),
        ({"metadata": {"name": "bare", "namespace": "apps"}, "spec": {}}, False),
    ],
    ids=lambda value: value["metadata"]["name"] if isinstance(value, dict) else "",
)
def test_who_relies_on_the_adapter(relied_on: ModuleType, hpa: dict[str, Any], relies: bool) -> None:
    found = relied_on.reliant([hpa], "demo", "apps")
    assert found == ([f"{hpa['metadata']['namespace']}/{hpa['metadata']['name']}"] if relies else [])


def test_uninstalling_is_refused_with_the_ways_out(
    relied_on: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RELEASE": "demo", "REVISION": "3", "NAMESPACE": "apps"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(relied_on, "list_hpas", lambda: [autoscaler("tfpod", RATE, namespace="b")])
    assert relied_on.main() == 1
    told = capsys.readouterr().out
    assert "b/tfpod" in told
    assert "helm uninstall demo -n apps --no-hooks" in told
    assert "helm rollback demo 3 -n apps" in told
    monkeypatch.setattr(relied_on, "list_hpas", lambda: [autoscaler("tfpod", RATE)])
    assert relied_on.main() == 0


@pytest.fixture
def predict(tmp_path: Path) -> Predict:
    """Run the test pod's program against a server with one answer; return the request it made, and its result."""
    tokens = tmp_path / "tokens"
    tokens.write_text("first\nsecond\n")

    def run(model: str, status: int, answer: object) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
        with _answering(status, answer) as (port, request):
            variables = {"HOST": "127.0.0.1", "PORT": str(port), "MODEL": model, "TOKENS_FILE": str(tokens)}
            command = [sys.executable, str(helm.CHART / "files/predict.py")]
            environment = {**os.environ, **variables}
            return request, subprocess.run(command, check=False, capture_output=True, text=True, env=environment)

    return run


def test_the_test_pod_is_content_with_ten_probabilities(predict: Predict) -> None:
    request, result = predict("digits", 200, {"outputs": [{"data": [0.1] * 10}]})
    assert result.returncode == 0, result.stderr
    assert request["path"] == "/v2/models/digits/infer"
    assert request["token"] == "Bearer first"
    (image,) = json.loads(request["body"])["inputs"]
    assert image["shape"] == [1, 8, 8, 1]
    assert len(image["data"]) == 64


def test_the_test_pod_asks_any_other_model_whether_it_is_ready(predict: Predict) -> None:
    request, result = predict("cats", 200, {})
    assert result.returncode == 0, result.stderr
    assert request["path"] == "/v2/models/cats/ready"


@pytest.mark.parametrize(
    ("status", "answer", "complaint"),
    [
        (401, {}, "expected 200, got 401"),
        (200, {"outputs": [{"data": [0.5] * 10}]}, "expected ten probabilities"),
        (200, {"outputs": [{"data": [1.0]}]}, "expected ten probabilities"),
    ],
)
def test_the_test_pod_fails_with_a_reason(predict: Predict, status: int, answer: object, complaint: str) -> None:
    _, result = predict("digits", status, answer)
    assert result.returncode == 1
    assert complaint in result.stderr


def test_the_test_pod_greets_the_port_of_grpc(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    monkeypatch.setenv("GRPC_PORT", str(server.add_insecure_port("127.0.0.1:0")))
    server.start()
    _, result = predict("cats", 200, {})
    server.stop(None).wait()
    assert result.returncode == 0, result.stderr


def test_the_test_pod_fails_where_the_port_of_grpc_speaks_something_else(
    predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _answering(200, {}) as (port, _):
        monkeypatch.setenv("GRPC_PORT", str(port))
        _, result = predict("cats", 200, {})
    assert result.returncode == 1
    assert "gRPC: expected HTTP/2, got b'" in result.stderr


@contextmanager
def _answering(status: int, answer: object) -> Iterator[tuple[int, dict[str, Any]]]:
    """Serve one request with this answer; yields the port, and what there is to know of the request when it came."""
    seen: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.update(path=self.path, token=self.headers.get("Authorization"), body=body)
            payload = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield server.server_address[1], seen
        thread.join()
