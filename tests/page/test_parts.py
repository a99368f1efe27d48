"""The page's pure parts, in the Node.js that builds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def test_the_parts_that_need_no_browser() -> None:
    done = subprocess.run(
        [sys.executable, CHECKOUT / "hatch_build.py", "test"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
