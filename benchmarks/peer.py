r"""Another server beside ours, in the same run: started by its operator's own command, its rows counted by his own query.

    python benchmarks/run.py --only ingest-teltonika --only peer-teltonika --peer 'java -jar server.jar conf.xml' \
        --peer-port 5027 --peer-count 'psql -Atc "SELECT count(*) FROM positions" mydb'

``--peer-prepare`` is a command that reads the fleet's identifiers, one a line, and registers them there.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
from ingest import CASES, Case, flags
from measures import Found, Measure
from msgspec import Struct
from processes import PROGRAM, cpu_s_of

START_S_MAX = 120.0
QUIET_S = 5.0  # nothing more is stored for so long: that was all
STORE_S_MAX = 300.0
REPETITIONS = 3


class Peer(Struct, frozen=True):
    """Shell commands and a port, as its operator gave them."""

    command: str
    port: int
    count: str
    prepare: str = ""
    pids: tuple[int, ...] = ()  # processes that work for it and are not its children: its database


def shell(command: str, said: str = "") -> str:
    """What a command of the operator's prints. Raises RuntimeError."""
    done = subprocess.run(command, shell=True, input=said, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command!r} exited with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def rows(peer: Peer) -> int:
    """How many are stored there. Raises RuntimeError."""
    told = shell(peer.count)
    if not told.isdecimal():
        raise RuntimeError(f"--peer-count: {peer.count!r} printed {told[:80]!r}, not a number")
    return int(told)


@contextmanager
def running(peer: Peer) -> Generator[int]:
    """Its process id, once its port answers; ended with all its children afterwards. Raises RuntimeError."""
    process = subprocess.Popen(
        peer.command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + START_S_MAX
        while not answers(peer.port):
            if process.poll() is not None:
                raise RuntimeError(f"--peer: {peer.command!r} ended with {process.returncode}")
            if time.monotonic() > until:
                raise RuntimeError(f"--peer-port: nobody listens on {peer.port} after {START_S_MAX:g} s")
            time.sleep(0.1)
        yield process.pid
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def answers(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cpu_s(peer: Peer, pid: int) -> float:
    """CPU seconds so far of all its processes that live, and of children that have ended."""
    processes: set[int] = set(peer.pids)
    for root in (pid, *peer.pids):
        processes |= {root, *(child.pid for child in psutil.Process(root).children(recursive=True))}
    return sum(map(cpu_s_of, processes))


def run(peer: Peer, name: str, seconds: float) -> Found:
    """The same fleet as ours is asked by; answers and stored rows each by themselves."""
    case = CASES[name]
    with running(peer) as pid:
        guess, _, _ = once(peer, pid, case, 100, 1_000)
        fixes = max(int(guess * seconds) // 200 // case.packet * case.packet, case.packet * 5)
        rounds = [once(peer, pid, case, fixes, number) for number in range(REPETITIONS)]
    return Found(
        f"peer {name}",
        [
            Measure(
                f"peer, {case.name}: answered", "fixes/s", [answered for answered, _, _ in rounds], "more"
            ),
            Measure(f"peer, {case.name}: stored", "rows/s", [stored for _, stored, _ in rounds], "more"),
            Measure(f"peer, {case.name}: CPU", "s/1000 rows", [cpu for _, _, cpu in rounds]),
        ],
    )


def once(peer: Peer, pid: int, case: Case, fixes: int, seed: int) -> tuple[float, float, float]:
    """One run: fixes answered a second, rows stored a second until all were, CPU seconds for 1,000 rows."""
    target = ["--protocol", case.protocol, "--target", f"127.0.0.1:{peer.port}"]
    command = [str(PROGRAM), "simulate", *target, *flags(case, fixes, seed)]
    if peer.prepare:
        ids = subprocess.run([*command, "--list-ids"], capture_output=True, text=True, check=True).stdout
        shell(peer.prepare, ids)
    before, cpu = rows(peer), cpu_s(peer, pid)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        # it may answer otherwise than we would: that is told in the report, and not our business here
        subprocess.run([*command, "--report", str(report)], capture_output=True, check=False)
        told = json.loads(report.read_bytes())
    stored, last_at = rows(peer) - before, time.monotonic()
    while time.monotonic() - last_at < QUIET_S and time.monotonic() - begun < STORE_S_MAX:
        time.sleep(0.2)
        if (now := rows(peer) - before) > stored:
            stored, last_at = now, time.monotonic()
        if stored >= fixes * 200:
            break
    if not stored:
        raise RuntimeError(
            "the peer stored nothing of what it was sent; does it know the devices (--peer-prepare)?"
        )
    return told["answered_per_s"], stored / (last_at - begun), (cpu_s(peer, pid) - cpu) / stored * 1_000
