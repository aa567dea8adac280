"""Virtual environments out of compiled requirements, under build/peers: made once, and anew when those change."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.programs import ROOT, clean

_FOLDER: Final = ROOT / "build/peers"
#: Triton's wheel needs the system's Python, and all are to have the same.
_PYTHON: Final = shutil.which("python3.11", path="/usr/bin") or sys.executable
_PIP: Final = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


class InstallError(Exception):
    """An environment could not be made; the text says why."""


def environment(name: str) -> Path:
    """Return the Python of an environment with requirements/peers/NAME.txt, or else requirements/NAME.txt."""
    requirements = next(
        path for folder in ("requirements/peers", "requirements") if (path := ROOT / folder / f"{name}.txt").is_file()
    )
    folder = _FOLDER / name
    python, stamp = folder / "bin/python", folder / "made"
    made_of = f"{_PYTHON} {hashlib.sha256(requirements.read_bytes()).hexdigest()}"
    if not (stamp.is_file() and stamp.read_text() == made_of):
        shutil.rmtree(folder, ignore_errors=True)
        _run(_PYTHON, "-m", "venv", "--without-pip", str(folder))
        _run(*_PIP, "--python", str(python), "install", "--require-hashes", "-r", str(requirements))
        stamp.write_text(made_of)
    return python


def _run(*command: str) -> None:
    """Run a command, whose Python compiles what it installs: that halves every start."""
    done = subprocess.run(command, env=clean({}), check=False, capture_output=True, text=True)
    if done.returncode:
        raise InstallError((done.stderr or done.stdout).strip()[-600:])
