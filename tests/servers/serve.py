"""The real server as a process of its own: ``tracker-server serve`` on free loopback ports."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.servers.memory import fresh_folder
from tests.servers.ports import listening
from tests.servers.waiting import wait_until
from tracker_server.storage.embedded import Embedded

PROGRAM = Path(sys.executable).with_name("tracker-server")
READY_S_MAX = 60.0
STOP_S_MAX = 40.0
ADDRESS = re.compile(r"^(\w+): (?:tcp|udp|http) (\S+):(\d+)(?: \(TLS\))?$")
API = re.compile(r"^api: (https?://\S+)$")


class Running:
    """One server: where it listens, what it says, and how to end it.

    ``addresses``: protocol to (host, port). ``api``: the base URL, empty where it is off. ``log``: the
    file with its standard error, ``out`` the one with its standard output. Both outlive a restart.
    """

    def __init__(self, home: Path, settings: Mapping[str, Any], dsn: str) -> None:
        self.home = home
        self.data_dir = home / "data"
        self.log = home / "stderr.log"
        self.out = home / "stdout.log"
        self.addresses: dict[str, tuple[str, int]] = {}
        self.api = ""
        self.process: subprocess.Popen[bytes] | None = None
        self._given_dsn = dsn
        self.settings = {"data_dir": self.data_dir, "storage.dsn": dsn, "log.level": "debug", **settings}

    @property
    def dsn(self) -> str:
        """Its database's, as the owner."""
        return self._given_dsn or Embedded(self.data_dir).dsn

    @property
    def environment(self) -> dict[str, str]:
        """Of the process and of commands beside it; nothing of ours leaks in."""
        own = {
            name: value
            for name, value in os.environ.items()
            # what is compiled once need not be compiled by each of a thousand processes
            if not name.startswith("TRACKER_") and name != "PYTHONDONTWRITEBYTECODE"
        }
        ours = {
            f"TRACKER_{key.upper().replace('.', '__')}": str(value) for key, value in self.settings.items()
        }
        return own | ours

    # ------------------------------------------------------------------ its life

    def launch(self, within_s: float = READY_S_MAX) -> None:
        """Start it, and wait until it says that it is ready."""
        assert self.process is None, "it runs already"
        said = self.out.stat().st_size if self.out.exists() else 0
        with self.out.open("ab") as out, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "serve"],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )

        def ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self._forget().returncode}: {self.tail()}")
            return "ready" in self.out.read_bytes()[said:].decode().splitlines()

        wait_until("the server to be ready", ready, within_s)
        self._read_addresses(self.out.read_bytes()[said:].decode().splitlines())

    def _read_addresses(self, lines: Sequence[str]) -> None:
        self.addresses.clear()
        for line in lines:
            if found := ADDRESS.match(line):
                self.addresses[found[1]] = (found[2], int(found[3]))
            elif found := API.match(line):
                self.api = found[1]

    def stop(self) -> None:
        """SIGTERM; it must drain and exit 0."""
        process = self._forget()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"SIGTERM did not end it in {STOP_S_MAX:g} s: {self.tail()}") from None
        assert code == 0, f"it exited {code} after SIGTERM: {self.tail()}"

    def kill(self) -> None:
        """SIGKILL. An embedded database lives on, as it does for an operator."""
        process = self._forget()
        process.kill()
        process.wait()

    def restart(self) -> None:
        """Stop it where it runs, and start it with the same data, ports and settings."""
        if self.process is not None:
            self.stop()
        self.launch()

    def kill_database(self) -> None:
        """SIGKILL to the embedded database's postmaster."""
        assert not self._given_dsn, "only the embedded database is the server's own"
        lock = Embedded(self.data_dir).cluster / "postmaster.pid"
        os.kill(int(lock.read_text().split()[0]), signal.SIGKILL)

    def close(self) -> None:
        """At the end of a test: stop it where it still runs, and leave nothing behind."""
        try:
            if self.process is not None:
                self.stop()
        finally:
            if not self._given_dsn and (self.data_dir / "postgres" / "cluster" / "postmaster.pid").exists():
                left = Embedded(self.data_dir)  # killed: its database lives on; the last to go stops it
                left.acquire()
                left.release()
            shutil.rmtree(self.home, ignore_errors=True)

    def _forget(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "it does not run"
        process, self.process = self.process, None
        return process

    # ------------------------------------------------------------------ beside it

    def cli(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Another command of the console script, with the same settings."""
        return subprocess.run(
            [PROGRAM, *arguments],
            env=self.environment,
            cwd=self.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=READY_S_MAX,
            check=False,
        )

    def tail(self, characters: int = 3_000) -> str:
        """The end of what it logged."""
        return self.log.read_text(errors="replace")[-characters:]


class Servers:
    """The fixture ``server``: call it for a running server. All are stopped when the test ends."""

    def __init__(self) -> None:
        self._started: list[Running] = []

    def __call__(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        dsn: str = "",
        protocols: Sequence[str] | None = None,
        within_s: float = READY_S_MAX,
    ) -> Running:
        """Start one and wait until it is ready.

        ``settings`` are dotted keys (``{"devices.unknown": "register"}``); ``dsn`` empty: an embedded
        database in a folder of its own. ``protocols``: which listeners to open (default: all).
        """
        home = fresh_folder("tracker-serve-")
        running = Running(home, {**listening(protocols), **(settings or {})}, dsn)
        self._started.append(running)
        running.launch(within_s)
        return running

    def close(self) -> None:
        """End all, then tell of the first that did not end well."""
        problems: list[BaseException] = []
        for running in self._started:
            try:
                running.close()
            except Exception as error:  # noqa: BLE001  (the others are to be ended too)
                problems.append(error)
        if problems:
            raise problems[0]
