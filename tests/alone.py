"""Runs a program in a process of its own, for what happens to a process once: imports, threads, its end."""

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent


def alone(program: str) -> str:
    """Run the program, which must end by itself, in good order; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, timeout=100, check=False, capture_output=True
    )
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert "Traceback" not in said, said
    return done.stdout.decode()
