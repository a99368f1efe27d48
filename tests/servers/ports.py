"""Free ports on loopback, claimed so that tests running beside each other never take the same one.

They lie below the range from which the kernel takes ports for outgoing connections, so that none is
taken between the moment it is found free and the moment a server listens on it.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tracker_protocols import ALL

LOWEST, HIGHEST = 18_000, 32_000
TRIES_MAX = 2_000

_claims: dict[int, int] = {}  # port to the descriptor that holds its lock; both last as long as the process


def free_port() -> int:
    """A port on which 127.0.0.1 is free for TCP and UDP, and which is ours until this process ends."""
    for _ in range(TRIES_MAX):
        port = random.randrange(LOWEST, HIGHEST)
        if port not in _claims and _claim(port):
            return port
    raise AssertionError(f"no free port between {LOWEST} and {HIGHEST} in {TRIES_MAX} tries")


def free_ports(count: int) -> list[int]:
    """As many of them."""
    return [free_port() for _ in range(count)]


def listening(protocols: Collection[str] | None = None) -> dict[str, Any]:
    """Settings by which a server listens on free ports: for its API, and for these protocols and "mqtt" (default: all)."""

    def port(name: str) -> int:
        return free_port() if protocols is None or name in protocols else 0

    chosen: dict[str, Any] = {"api.host": "127.0.0.1", "api.port": free_port()}
    for protocol in ALL:
        chosen |= {
            f"listeners.{protocol.name}.host": "127.0.0.1",
            f"listeners.{protocol.name}.port": port(protocol.name),
        }
    return chosen | {"mqtt.host": "127.0.0.1", "mqtt.port": port("mqtt")}


def _claim(port: int) -> bool:
    folder = Path(tempfile.gettempdir()) / f"tracker-test-ports-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    claim = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(claim)
        return False
    if not _is_free(port):
        os.close(claim)
        return False
    _claims[port] = claim
    return True


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
