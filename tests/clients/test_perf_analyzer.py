"""Triton's perf_analyzer against a pod that runs, by both kinds of service that a pod is."""

import csv
import shutil
import subprocess
from pathlib import Path

import pytest

#: PyPI's wheel of it needs the C library of Debian 13 or Ubuntu 24.04.
PROGRAM = shutil.which("perf_analyzer")


def starts() -> bool:
    """Tell whether the program is there, and can run on this system."""
    return (
        PROGRAM is not None and subprocess.run([PROGRAM, "--version"], capture_output=True, check=False).returncode == 0
    )


needs_it = pytest.mark.skipif(
    not starts(), reason="perf_analyzer is not installed, or this system's C library is too old for it"
)


def measured(report: Path, options: dict[str, str], *more: str) -> float:
    """Let it ask a hundred times; return the inferences per second that it tells."""
    common = {
        "-m": "kinds",
        "--concurrency-range": "4",
        "--request-count": "100",
        "--stability-percentage": "999",  # this is no measurement
        "-f": str(report),
    }
    words = [word for option in (common | options).items() for word in option]
    ended = subprocess.run([str(PROGRAM), *words, *more], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (line,) = csv.DictReader(report.read_text().splitlines())
    return float(line["Inferences/Second"])


@needs_it
@pytest.mark.parametrize("form", ["binary", "json"])
@pytest.mark.parametrize("rows", ["1", "16"])
def test_it_measures_the_open_inference_protocol(address: str, tmp_path: Path, form: str, rows: str) -> None:
    forms = {"--input-tensor-format": form, "--output-tensor-format": form}
    options = {"--service-kind": "triton", "-i": "http", "-u": address, "-b": rows}
    assert measured(tmp_path / "report.csv", options | forms) > 0


@needs_it
@pytest.mark.parametrize("rows", ["1", "16"])
def test_it_measures_the_open_inference_protocol_by_grpc(rpc_address: str, tmp_path: Path, rows: str) -> None:
    options = {"--service-kind": "triton", "-i": "grpc", "-u": rpc_address, "-b": rows}
    assert measured(tmp_path / "report.csv", options) > 0


@needs_it
def test_it_measures_tensorflow_serving(rpc_address: str, tmp_path: Path) -> None:
    """It speaks gRPC alone to that, and has to be told all of a tensor's shape."""
    options = {"--service-kind": "tfserving", "-i": "grpc", "-u": rpc_address}
    shapes = ("--shape", "a:4,3", "--shape", "b:4,1")
    assert measured(tmp_path / "report.csv", options, "--model-signature-name", "serving_default", *shapes) > 0
