"""Does the judge notice? Each patch in ``defects/`` breaks one promise on purpose; a run with it must find that out.

The patched copy of the server's code is put before the installed one, for the server and for the business beside it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFECTS = Path(__file__).parent / "defects"
RUN_S_MAX = 300.0


def patched(folder: Path, *patches: Path) -> Path:
    """A copy of the server's code with patches applied. Raises AssertionError where one does not fit."""
    shutil.copytree(ROOT / "src", folder / "src")
    for patch in patches:
        done = subprocess.run(
            ["git", "apply", "--unsafe-paths", "--whitespace=nowarn", "-C1", str(patch)],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{patch.name} no longer fits the code; make it anew: {done.stderr}"
    return folder / "src"


def told(source: Path, *arguments: str) -> tuple[int, str]:
    """A run of chaos with this code: its exit status, and what it said."""
    environment = os.environ | {"PYTHONPATH": str(source)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.run", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=RUN_S_MAX, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr
