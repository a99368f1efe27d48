"""What is broken: a database, a proxy before it, a server, a mail server, and a fleet that reports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil

from tests.alerts.http_peer import HttpPeer
from tests.chaos.ambush import Ambush
from tests.servers.memory import fresh_folder
from tests.servers.mosquitto import Mosquitto
from tests.servers.ports import listening
from tests.servers.serve import PROGRAM, Running
from tracker_server.config import Settings, Storage
from tracker_server.storage.database import Database
from tracker_server.storage.embedded import Embedded

FAMILIES = {
    "gt06": (3, 1),
    "teltonika": (2, 5),
    "osmand": (1, 1),
    "owntracks": (1, 1),
}  # share of the devices, fixes in a packet
DISK_MB = 800  # of the small disk on which the database lies, where we may mount one
TOPIC = "out/{unique_id}/{kind}"  # what the server publishes
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
SHARED_MEMORY = Path("/dev/shm")
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
GIVE_UP_S = 86_400.0  # the fleet slows where the machine is slow; whoever gave up would send no more
AGE_S_MAX = (
    7 * 86_400
)  # alerts of events that are older than this are told to nobody; the fleet tells of yesterday


class Plant:
    """All processes of one run, in one folder."""

    def __init__(self, seed: int, devices: int, fixes: int, rate: float, *, small_disk: bool = True) -> None:
        # not below a private folder: under root the embedded database belongs to a user of its own
        self.home = fresh_folder("tracker-chaos-")
        self.seed, self.devices, self.fixes, self.rate = seed, devices, fixes, rate
        self.disk = self.home / "disk"
        self.disk.mkdir()
        self.small_disk = small_disk and _mount(self.disk)
        self.embedded = Embedded(self.disk)
        self.proxy_socket = str(self.embedded.socket_dir / ".s.PGSQL.5432")
        self.workers = 1 + seed % 2  # every other seed has two processes on its ports
        self.mail = Ambush()
        self.hooks = HttpPeer()
        self.broker = Mosquitto() if shutil.which("mosquitto", path=SYSTEM_PATH) else None
        self.broker_killed = False
        self.ledger = self.home / "answered.csv"
        self.report = self.home / "report.json"
        self.fleet: subprocess.Popen[bytes] | None = None
        self.fleet_told_to_end = False
        self.running: Running | None = None
        self.database: Database | None = None
        self.clock = self.home / "clock"  # what libfaketime reads: how far the server's clock is off

    # ------------------------------------------------------------------ the database

    async def start_database(self) -> None:
        """Start it where it does not run. Raises EmbeddedError."""
        await asyncio.to_thread(self.embedded.acquire)

    def postgres(self) -> list[psutil.Process]:
        """The postmaster first, then its children."""
        lock = self.embedded.cluster / "postmaster.pid"
        postmaster = psutil.Process(int(lock.read_text().split()[0]))
        return [postmaster, *postmaster.children()]

    # ------------------------------------------------------------------ the server

    def make_server(self, proxy_port: int) -> Running:
        """The server, not started yet. ``proxy_port``: 0 for one of which nothing but its life is meddled with."""
        dsn = f"postgresql://postgres@127.0.0.1:{proxy_port}/tracker" if proxy_port else self.embedded.dsn
        self.database = Database(Settings(storage=Storage(dsn=dsn)))
        settings: dict[str, object] = {
            **listening({"mqtt", *FAMILIES} - {"owntracks"}),  # that family speaks MQTT
            "log.level": "info",
            "smtp.host": "127.0.0.1", "smtp.port": self.mail.port, "smtp.tls": "none",
            "smtp.from": "Tracking <billing@example.com>", "smtp.timeout_s": 5,
            "workers": self.workers,
            "alerts.age_max_s": AGE_S_MAX, "alerts.mails_per_hour_max": AGE_S_MAX,
            "webhooks.private_addresses": "true", "webhooks.timeout_s": 5,
        }  # fmt: skip
        if self.broker is not None:
            settings |= {"mqtt.publish.url": self.broker.url, "mqtt.publish.topic": TOPIC}
        self.running = Chaotic(self.home, settings, dsn)
        if (
            FAKETIME.exists() and proxy_port
        ):  # it makes everything slow; a run that only kills does without both
            self.clock.write_text("+0\n")
            self.running.more |= {
                "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self.clock),
                "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }  # fmt: skip
        return self.running

    def worker_processes(self) -> list[psutil.Process]:
        """Those beside the first process."""
        if self.running is None or self.running.process is None:
            return []
        found: list[psutil.Process] = []
        for child in psutil.Process(self.running.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if "tracker_server.cli.worker" in child.cmdline():
                    found.append(child)
        return found

    # ------------------------------------------------------------------ the fleet

    def scenario(self) -> Path:
        """Families in proportion, each at its listener's port."""
        assert self.running is not None
        lines = [
            'target = "127.0.0.1"', f"seed = {self.seed}", f"devices = {self.devices}", f"fixes = {self.fixes}",
            f"rate = {self.rate}", "reconnect = true", "timeout = 8", f"give_up = {GIVE_UP_S}",
        ]  # fmt: skip
        for name, (share, packet) in FAMILIES.items():
            key = "mqtt.port" if name == "owntracks" else f"listeners.{name}.port"
            port = self.running.settings[key]
            lines += [
                "[[family]]",
                f'protocol = "{name}"',
                f"share = {share}",
                f"packet = {packet}",
                f"port = {port}",
            ]
            lines += ["duplicates = 0.02"]
            if name == "teltonika":
                lines += ["offline_after = 10", "offline_packets = 4", "newest_first = true"]
        file = self.home / "fleet.toml"
        file.write_text("\n".join(lines) + "\n")
        return file

    def ids(self) -> list[str]:
        """The identifiers of the fleet."""
        listed = [PROGRAM, "simulate", "--scenario", self.scenario(), "--list-ids"]
        return subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()

    def start_fleet(self) -> None:
        """Let it report."""
        command = [
            PROGRAM,
            "simulate",
            "--scenario",
            self.scenario(),
            "--ledger",
            self.ledger,
            "--report",
            self.report,
        ]
        with (self.home / "fleet.log").open("wb") as out:
            self.fleet = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def end_fleet(self) -> None:
        """Let it stop where it is, and write its report."""
        assert self.fleet is not None
        self.fleet_told_to_end = True
        self.fleet.terminate()

    def answered(self) -> int:
        """How many fixes its ledger tells."""
        return self.ledger.read_bytes().count(b"\n") if self.ledger.exists() else 0

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Leave nothing behind."""
        if self.fleet is not None and self.fleet.poll() is None:
            self.fleet.kill()
            self.fleet.wait()
        if self.broker is not None:
            self.broker.resume()
            self.broker.close()
        if self.running is not None and self.running.process is not None:
            os.kill(self.running.process.pid, signal.SIGCONT)
            self.running.kill()
        try:
            for process in self.postgres():
                process.send_signal(signal.SIGCONT)
        except (OSError, ValueError, psutil.Error):
            pass  # it is down
        self.embedded.acquire()
        self.embedded.release()
        if self.small_disk:
            subprocess.run(["umount", "--lazy", self.disk], check=False)
        shutil.rmtree(self.home, ignore_errors=True)
        forget_clocks()


class Chaotic(Running):
    """A server with a little more in its environment."""

    more: dict[str, str]

    def __init__(self, home: Path, settings: dict[str, object], dsn: str) -> None:
        super().__init__(home, settings, dsn)
        self.more = {}

    @property
    def environment(self) -> dict[str, str]:
        """With it."""
        return super().environment | self.more


def forget_clocks() -> None:
    """Remove what libfaketime keeps for processes that were killed: a later one with the same number could not start over it."""
    for left in SHARED_MEMORY.glob("*faketime_s*_*"):
        if not psutil.pid_exists(int(left.name.rpartition("_")[2])):
            left.unlink(missing_ok=True)


def _mount(folder: Path) -> bool:
    """A small disk there, where we may mount one."""
    if os.geteuid() != 0:
        return False
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0755", "chaos", folder],
        capture_output=True,
        check=False,
    )
    return mounted.returncode == 0
