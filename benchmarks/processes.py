"""A server of its own for a benchmark, and what it, its database and the simulator cost: /proc, not guesses."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from msgspec import Struct

from tracker_protocols import ALL
from tracker_server.storage.embedded import Embedded

PROGRAM = Path(sys.executable).with_name("tracker-server")
STOP_S_MAX = 60.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """``tracker-server serve`` with an embedded database in a folder of its own. ``workers``: in so many processes."""

    workers = 1

    def __init__(self, home: Path, extra: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.mqtt_port = free_port()
        self._extra = dict(extra or {})
        self.data_dir = home / "data"
        self.ports = {protocol.name: free_port() for protocol in ALL}
        self.process: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0

    @property
    def environment(self) -> dict[str, str]:
        """Only what is said here: settings of the shell that measures would measure something else."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("TRACKER_")}
        for name, port in self.ports.items():
            own[f"TRACKER_LISTENERS__{name.upper()}__PORT"] = str(port)
            own[f"TRACKER_LISTENERS__{name.upper()}__HOST"] = "127.0.0.1"
        return own | {
            "TRACKER_DATA_DIR": str(self.data_dir),
            "TRACKER_API__PORT": "0",
            "TRACKER_DEVICES__UNKNOWN": "register",
            "TRACKER_LOG__LEVEL": "warning",
            "TRACKER_WORKERS": str(self.workers),
            "TRACKER_MQTT__HOST": "127.0.0.1",
            "TRACKER_MQTT__PORT": str(self.mqtt_port),
            **self._extra,
        }

    def start(self) -> float:
        """Start it; seconds until it said ``ready``."""
        begun = time.perf_counter()
        with (self.home / "log").open("ab") as log:
            process = self.process = subprocess.Popen(
                [PROGRAM, "serve"],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert process.stdout is not None
        for line in process.stdout:
            if line == b"ready\n":
                self.started_s = time.perf_counter() - begun
                return self.started_s
        raise RuntimeError(f"the server did not start: {(self.home / 'log').read_text()[-2_000:]}")

    def stop(self) -> None:
        """End it, and its database with it."""
        if self.process is not None:
            process, self.process = self.process, None
            assert process.stdout is not None
            process.stdout.close()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()  # and then its database, whose last user it was
                process.wait()
                left = Embedded(self.data_dir)
                left.acquire()
                left.release()
                raise RuntimeError(f"SIGTERM did not end the server in {STOP_S_MAX:g} s") from None

    @property
    def pid(self) -> int:
        """Of the server's process."""
        assert self.process is not None
        return self.process.pid

    @property
    def dsn(self) -> str:
        """Of its database, as the superuser."""
        return Embedded(self.data_dir).dsn

    @property
    def postmaster(self) -> int:
        """The process id of its database's first process."""
        return int((Embedded(self.data_dir).cluster / "postmaster.pid").read_text().split()[0])

    def cpu_s(self) -> float:
        """CPU seconds so far of the server, its workers, and of all processes that its database has or had."""
        return cpu_s_of(self.pid) + sum(cpu_s_of(pid) for pid in self.further()) + self.database_cpu_s()

    def further(self) -> list[int]:
        """The process ids of its further processes."""
        children = psutil.Process(self.pid).children()
        return [child.pid for child in children if child.pid != self.postmaster]

    def database_cpu_s(self) -> float:
        """CPU seconds so far of the database: those of ended backends are with the postmaster that reaped them."""
        postmaster = psutil.Process(self.postmaster)
        return cpu_s_of(postmaster.pid) + sum(cpu_s_of(child.pid) for child in postmaster.children())

    def rss_mb(self) -> float:
        """Resident memory of the server's processes, in megabytes of 10^6 bytes."""
        return sum(psutil.Process(pid).memory_info().rss for pid in (self.pid, *self.further())) / 1e6


def cpu_s_of(pid: int) -> float:
    """User and system time of a process and of its children that have ended; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS_PER_S


@contextmanager
def server(extra: Mapping[str, str] | None = None) -> Generator[Server]:
    """A fresh one, running; stopped and removed in the end. ``extra``: more of its environment."""
    # not below a private folder: under root the embedded database belongs to a user of its own
    home = Path(tempfile.mkdtemp(prefix="tracker-bench-"))
    one = Server(home, extra)
    try:
        one.start()
        yield one
    finally:
        try:
            one.stop()
        finally:
            shutil.rmtree(home, ignore_errors=True)


class Simulated(Struct):
    """One run of the simulator: its report, and the CPU seconds of its process."""

    report: dict[str, Any]
    cpu_s: float


def simulate(one: Server, protocol: str, *flags: str, port: int | None = None) -> Simulated:
    """Let a fleet report to it, or to whoever listens on ``port``. Raises RuntimeError when an answer was wrong or missing."""
    report = one.home / "report.json"
    before = children_cpu_s()
    done = subprocess.run(
        [*command(one, protocol, port), *flags, "--report", str(report)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the simulator is not content:\n{done.stdout}{done.stderr}")
    return Simulated(json.loads(report.read_bytes()), children_cpu_s() - before)


def command(one: Server, protocol: str, port: int | None = None) -> Sequence[str]:
    """The simulator's command line, without what it is to do."""
    target = f"127.0.0.1:{port or one.ports[protocol]}"
    return [str(PROGRAM), "simulate", "--protocol", protocol, "--target", target]


def children_cpu_s() -> float:
    """CPU seconds of our children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Watch:
    """How much of the machine others took while something ran."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._busy_s = busy_s()

    def disturbed(self, ours_s: float) -> float:
        """The share (0 to 1) of all cores that was busy with something else; ``ours_s`` are our CPU seconds."""
        passed_s = (time.perf_counter() - self._begun) * (os.cpu_count() or 1)
        return max(0.0, (busy_s() - self._busy_s - ours_s) / max(passed_s, 1e-9))


def busy_s() -> float:
    """CPU seconds of the whole machine that were not idle."""
    first = Path("/proc/stat").read_text().partition("\n")[0].split()
    user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, first[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S
