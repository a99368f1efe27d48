"""Where the tests keep what need not survive them."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

MEMORY = Path("/dev/shm")
BYTES_MIN = 4 * 2**30
MACHINE_BYTES_MIN = 8 * 2**30


@cache
def folder() -> Path:
    """In memory where there is enough of it, else the usual one: a fresh database is some 350 files, and to make these on a
    disk took the kernel half a second. The same in every process of a machine.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    roomy = MEMORY.is_dir() and machine >= MACHINE_BYTES_MIN and shutil.disk_usage(MEMORY).total >= BYTES_MIN
    return MEMORY if roomy and os.access(MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def fresh_folder(prefix: str) -> Path:
    """One of one's own; not below pytest's, which is private to us: an embedded database under root is another user."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=folder()))
