"""`--check`: what would be served is printed, and all that is wrong, with a status that says which it was."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service import app, logs
from service.__main__ import main
from service.types import ELEMENT_TYPES, Signature, TensorSpec
from tests.echo import ECHO, Echo, saved
from tests.program import program

FLOAT, STRING = ELEMENT_TYPES[0], ELEMENT_TYPES[-1]
ODD = Signature({"a": TensorSpec(STRING, None), "b": TensorSpec(FLOAT, (2, None))}, {"y": TensorSpec(FLOAT, ())})


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the program; it loads echoes, but what is called `broken` not at all."""

    def load(path: Path) -> Echo:
        if "broken" in path.parts:
            raise ValueError("it is broken")
        return Echo(path, {**ECHO, "odd": ODD})

    def run(*options: str) -> tuple[int, str, str]:
        status = main(["--check", *options], {})
        return status, *capsys.readouterr()

    monkeypatch.setattr(app, "load_model", load)
    monkeypatch.setattr(logs, "configure", lambda _: None)
    return run


def test_what_would_be_served_is_printed(check: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    saved(tmp_path / "good", "3", "12")
    (tmp_path / "tokens").write_text("one\ntwo\n")
    status, told, faults = check(
        f"--models=m={tmp_path / 'good'}",
        f"--tokens-file={tmp_path / 'tokens'}",
        "--port=8001",
        "--version-labels=m/old=3",
    )
    assert (status, faults) == (0, "")
    signatures = [
        "  odd: a BYTES[…], b FP32[2,-1] -> y FP32[]",
        "  serving_default: x FP32[-1,3] -> x FP32[-1,3], in batches of 64",
    ]
    lines = told.splitlines()
    assert lines[:7] == [
        f"model m, version 12, from {tmp_path / 'good'}",
        *signatures,
        f"model m, version 3, from {tmp_path / 'good'}",
        *signatures,
        "whoever knows one of 2 tokens is let in",
    ]
    assert {"TFPOD_PORT=8001", "TFPOD_ADMIN_PORT=9000", "TFPOD_BATCHING=true"} <= set(lines)
    assert "two" not in told


def test_a_printed_setting_is_one_that_can_be_given(check: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    saved(tmp_path / "good", "1")
    given = ["--batching=false", "--keep-alive=0.5", "--host=::1"]
    _, first, _ = check(f"--models=m={tmp_path / 'good'}", *given)
    printed = [line.removeprefix("TFPOD_").partition("=") for line in first.splitlines() if line.startswith("TFPOD_")]
    _, second, _ = check(*(f"--{name.lower().replace('_', '-')}={value}" for name, _, value in printed))
    assert first == second
    assert "everybody is let in" in first
    assert "in batches" not in first


def test_every_model_that_cannot_be_served_is_named(check: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    saved(tmp_path / "broken", "1")
    saved(tmp_path / "good", "1")
    paths = {"a": "broken", "b": "good", "c": "missing"}
    status, told, faults = check("--models=" + ",".join(f"{name}={tmp_path / path}" for name, path in paths.items()))
    assert status == 1
    assert [line.split()[1] for line in told.splitlines() if line.startswith("model ")] == ["b,"]
    first, second = faults.splitlines()
    assert ("'a'" in first, "it is broken" in first) == (True, True)
    assert ("'c'" in second, "no such folder" in second) == (True, True)


def test_a_newest_version_that_is_broken_is_a_fault_though_an_older_one_would_serve(
    check: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    saved(tmp_path / "m", "1")
    (tmp_path / "m" / "2").mkdir()
    status, told, faults = check(f"--models=m={tmp_path / 'm'}")
    assert (status, told.startswith("model m, version 1,")) == (1, True)
    assert "version 2" in faults


@pytest.mark.parametrize("content", [None, ""])
def test_a_token_file_that_lets_nobody_in_is_a_fault_of_the_settings(
    check: Callable[..., tuple[int, str, str]], tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "tokens").write_text(content)
    status, told, faults = check(f"--tokens-file={tmp_path / 'tokens'}")
    assert (status, told) == (2, "")
    assert faults.startswith("TFPOD_TOKENS_FILE: ")


def test_faults_of_the_settings_come_first(check: Callable[..., tuple[int, str, str]]) -> None:
    assert check("--port=x", "--models=a") == (
        2,
        "",
        "TFPOD_PORT: expected a whole number, got 'x'\nTFPOD_MODELS: expected NAME=PATH, got 'a'\n",
    )


def test_the_bundled_models_pass() -> None:
    with program("--check") as checking:
        assert checking.process.wait(110) == 0
