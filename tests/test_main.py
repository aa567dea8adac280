"""The program itself, started as users start it."""

import contextlib
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from service.__main__ import main
from service.settings import Settings
from tests.program import get, program, until_ready

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ROOT / "models" / "digits"


def test_serves_a_real_digit_and_ends_when_told() -> None:
    with program("--drain-delay", "0.2") as pod:
        api, admin = pod.urls()
        until_ready(admin)
        status, text = get(f"{api}/v1/models/digits:predict", (DIGITS / "sample.json").read_bytes())
        (row,) = json.loads(text)["predictions"]
        assert status == 200
        assert row.index(max(row)) == label()
        metrics = get(f"{admin}/metrics")[1]
        assert "tfpod_requests_per_second 0.0666" in metrics
        assert "tfpod_gpu_utilization_percent" not in metrics
        assert pod.end() == 0
        pod.line("draining")


def label() -> int:
    """Return the sample's class as the README tells it."""
    found = re.search(r"it is a (\d)\.", (ROOT / "README.md").read_text())
    assert found
    return int(found.group(1))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_lines_of_the_readme_work_as_they_stand() -> None:
    lines = re.findall(r"^curl .*localhost:[89]000.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(lines) >= 4
    with program() as pod:
        api, admin = pod.urls()
        until_ready(admin)
        for line in lines:
            words = shlex.split(line.replace("localhost:8000", api).replace("localhost:9000", admin))
            subprocess.run([*words, "--fail", "--silent"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_ends_at_once_while_it_still_loads(sign: int) -> None:
    with program("--drain-delay=0", "--drain-timeout=0") as pod:
        pod.urls()
        assert pod.end(sign) == 0


def test_all_faults_of_the_settings_are_told_at_once() -> None:
    with program("--port=x", TFPOD_MAX_INFLIGHT="0", TFPOD_MODELS="digits", TFPOD_TYPO="1") as pod:
        assert pod.process.wait(60) == 2
        assert pod.process.stderr
        faults = pod.process.stderr.read()
        for name in ("TFPOD_PORT", "TFPOD_MAX_INFLIGHT", "TFPOD_TYPO"):
            assert f"{name}: " in faults


def test_help_tells_of_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"], {})
    told = " ".join(capsys.readouterr().out.split())
    for field in msgspec.structs.fields(Settings):
        assert f"--{field.name.replace('_', '-')} VALUE" in told
        assert f"(TFPOD_{field.name.upper()}" in told


def test_what_kubernetes_sets_for_a_service_of_that_name_is_no_setting() -> None:
    foreign: dict[str, Any] = {
        "TFPOD_PORT": "tcp://10.96.0.7:8000",
        "TFPOD_PORT_8000_TCP_ADDR": "10.96.0.7",
        "TFPOD_SERVICE_HOST": "10.96.0.7",
        "TFPOD_DEMO_SERVICE_PORT_HTTP": "80",
        "TFPOD_ADAPTER_PORT": "6443",
    }
    with program("--port=0", "--drain-delay=0", **foreign) as pod:
        pod.urls()
        assert pod.end() == 0


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, program(TFPOD_PORT=str(taken.getsockname()[1])) as pod:
        assert "in use" in pod.line("cannot serve")["reason"]
        assert pod.process.wait(60) == 1


def test_a_host_that_is_no_name_is_told() -> None:
    with program(TFPOD_HOST="a" * 70) as pod:
        assert pod.line("cannot serve")["reason"]
        assert pod.process.wait(60) == 1


def test_more_connections_than_descriptors_harm_neither_the_probes_nor_the_end() -> None:
    with program("--drain-delay=0", descriptors=400) as pod, contextlib.ExitStack() as stack:
        api, admin = pod.urls()
        address = ("127.0.0.1", int(api.rpartition(":")[2]))
        for _ in range(500):
            stack.enter_context(socket.create_connection(address))
        assert get(f"{admin}/livez")[0] == 200
        assert get(f"{api}/v2/health/live")[0] == 200
        stack.close()
        assert pod.end() == 0


@pytest.mark.parametrize("content", [None, b"", b"broken"])
def test_a_model_that_cannot_be_loaded_ends_the_pod(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "saved_model.pb").write_bytes(content)
    with program(TFPOD_MODELS=f"speech={tmp_path}") as pod:
        reason = pod.line("a model cannot be served")["reason"]
        assert "speech" in reason
        assert str(tmp_path) in reason
        assert pod.process.wait(60) == 1
