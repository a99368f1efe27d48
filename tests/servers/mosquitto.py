"""A real Mosquitto on a loopback port, with its messages in a folder of its own; and its command-line client."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.waiting import missing, wait_until

CURE = "install it (Debian: apt-get install mosquitto mosquitto-clients)"


def tool(name: str) -> str:
    """The path of one of its programs; skips the test where it is not here."""
    found = shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
    return found or missing(name, CURE)


class Mosquitto:
    """One broker; ``kill`` and ``launch`` as often as you like: port and messages stay."""

    def __init__(self, extra: str = "") -> None:
        self.home = Path(tempfile.mkdtemp(prefix="tracker-mosquitto-"))
        self.home.chmod(0o777)  # it drops root
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (self.home / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self.home}/\nautosave_on_changes true\nautosave_interval 1\n"
            f"max_queued_messages 0\nmax_inflight_messages 0\n{extra}"
        )

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def launch(self) -> Mosquitto:
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [tool("mosquitto"), "-c", str(self.home / "mosquitto.conf")], stdout=log, stderr=log
            )
        wait_until("Mosquitto to listen", self._listens)
        return self

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.home / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(self.address) == 0

    def stop(self) -> None:
        """SIGTERM: it writes down what it holds."""
        self._end(kill=False)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(kill=True)

    def freeze(self) -> None:
        """SIGSTOP."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill() if kill else process.terminate()
            process.wait(30)

    def close(self) -> None:
        self._end(kill=True)
        shutil.rmtree(self.home, ignore_errors=True)
