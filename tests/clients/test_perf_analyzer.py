"""Triton's perf_analyzer against a pod that runs; of its kinds of service, `tfserving` speaks gRPC alone."""

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


@pytest.mark.skipif(not starts(), reason="perf_analyzer is not installed, or this system's C library is too old for it")
@pytest.mark.parametrize("form", ["binary", "json"])
@pytest.mark.parametrize("rows", [1, 16])
def test_it_measures(address: str, tmp_path: Path, form: str, rows: int) -> None:
    report = tmp_path / "report.csv"
    options = {
        "-m": "kinds",
        "-u": address,
        "-i": "http",
        "-b": str(rows),
        "--service-kind": "triton",
        "--concurrency-range": "4",
        "--request-count": "100",
        "--stability-percentage": "999",  # this is no measurement
        "--input-tensor-format": form,
        "--output-tensor-format": form,
        "-f": str(report),
    }
    words = [word for option in options.items() for word in option]
    ended = subprocess.run([str(PROGRAM), *words], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (line,) = csv.DictReader(report.read_text().splitlines())
    assert float(line["Inferences/Second"]) > 0
