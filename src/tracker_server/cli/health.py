"""What ``doctor`` looks at on this machine: the data directory, its disk, the limits of processes."""

from __future__ import annotations

import resource
import shutil
import tempfile
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

FREE_BYTES_MIN = 1 << 30  # PostgreSQL stops at a full disk, and recovers best with room to write its journal
FREE_BYTES_FEW = 10 << 30
DESCRIPTORS_BESIDE = 200  # listeners, database connections, logs


class State(StrEnum):
    """How something is. A warning costs no exit code: it works, but not for long or not at full size."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


class Finding(Struct, frozen=True):
    """One thing looked at. ``cure`` is empty where nothing has to be done."""

    check: str
    state: State
    detail: str
    cure: str = ""


def data_dir(path: Path) -> Finding:
    """Whether files can be made in it."""
    existing = nearest(path)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding(
            "data directory",
            State.WRONG,
            f"{existing} cannot be written: {error.strerror}",
            "make it this user's (chown), or set data_dir to a directory that is",
        )
    if existing != path.absolute():
        return Finding("data directory", State.OK, f"{path.absolute()} is made at the first start")
    return Finding("data directory", State.OK, f"{existing} can be written")


def nearest(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def disk_space(path: Path, free_bytes_min: int = FREE_BYTES_MIN) -> Finding:
    """Whether there is room to go on."""
    free = shutil.disk_usage(nearest(path)).free
    detail = f"{free / (1 << 30):.1f} GiB free"
    cure = "make room, shorten storage.retention_days, or set data_dir on a larger disk"
    if free < free_bytes_min:
        return Finding("disk space", State.WRONG, detail, cure)
    if free < FREE_BYTES_FEW:
        return Finding("disk space", State.WARNING, detail, cure)
    return Finding("disk space", State.OK, detail)


def file_descriptors(connections_max: int) -> Finding:
    """Whether as many connections can be open as the settings allow; `serve` takes all that it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections_max + DESCRIPTORS_BESIDE
    if hard != resource.RLIM_INFINITY and hard < needed:
        return Finding(
            "file descriptors",
            State.WARNING,
            f"{hard:,} may be open, {needed:,} are needed for limits.connections_max = {connections_max:,}",
            "raise the limit (LimitNOFILE= in systemd, ulimit -Hn), or lower limits.connections_max",
        )
    allowed = "any number" if hard == resource.RLIM_INFINITY else f"{hard:,}"
    return Finding("file descriptors", State.OK, f"{allowed} may be open, {needed:,} are needed")
