"""Compiles a driver library without hardware; fake_nvml.c says what it answers and from which file."""

import shutil
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("fake_nvml.c")


def compiler() -> str | None:
    """Return the C compiler of this machine, None where it has none."""
    return shutil.which("cc") or shutil.which("gcc")


def build(directory: Path) -> Path:
    """Compile the library into `directory` and return its path; needs a `compiler()`."""
    library = directory / "libnvidia-ml.so.1"
    command = [compiler() or "cc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, "-o", library, _SOURCE], check=True)
    return library


def play(file: Path, text: str) -> None:
    """Make `text` what the hardware does from now on: replace the file that FAKE_NVML_FILE names, whole."""
    beside = file.with_name(f".{file.name}")
    beside.write_text(text)
    beside.replace(file)
