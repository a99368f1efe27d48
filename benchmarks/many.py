"""Many devices that say little: 5,000 with a fix each every 4 seconds, 5,000 idle, and how soon a server is there."""

from __future__ import annotations

import subprocess
import time

import psutil
from floor import count
from measures import Found, Measure
from processes import Server, Watch, command, server, simulate

DEVICES = 5_000
EVERY_S = 4
CONNECT_S_MAX = 60.0
STARTS = 3


def slow(seconds: float) -> Found:
    """Open loop at 1,250 fixes/s: latency counts from when each fix was due, not from when it could be sent."""
    reports = max(2, round(seconds / EVERY_S))
    common = ["--devices", str(DEVICES), "--interval", str(EVERY_S)]
    with server() as one:
        first = ["--fixes", "1", "--start", "2024-01-01T00:00:00Z", "--timeout", "600"]
        met = simulate(one, "gt06", *common, *first)
        before, cpu, watch = count(one), one.cpu_s(), Watch()
        run = simulate(one, "gt06", *common, "--fixes", str(reports), "--rate", str(DEVICES / EVERY_S))
        cpu_s = one.cpu_s() - cpu
        disturbed = watch.disturbed(cpu_s + run.cpu_s)
        memory_mb = one.rss_mb()
        rows = count(one) - before
    if rows != DEVICES * reports:
        raise RuntimeError(f"{rows} rows were stored of {DEVICES * reports}")
    latency, per_1000 = run.report["latency"], cpu_s / rows * 1_000
    name = f"{DEVICES:,} devices, a fix each {EVERY_S} s"
    measures = [
        Measure(f"{DEVICES:,} devices that nobody knew: first fix answered", "s", [met.report["run_s"]]),
        Measure(f"{name}: answer p50", "ms", [latency["p50_s"] * 1e3], aim=40),
        Measure(f"{name}: answer p99", "ms", [latency["p99_s"] * 1e3], aim=110),
        Measure(f"{name}: rate kept", "fixes/s", [run.report["sent_per_s"]], "more"),
        Measure(f"{name}: CPU of server and database, connecting included", "s/1000 fixes", [per_1000]),
        Measure(f"{name}: server's memory", "MB", [memory_mb], aim=100),
    ]
    return Found("slow", measures, disturbed)


def idle() -> Found:
    """Connected, logged in, silent."""
    with server() as one:
        alone_mb = one.rss_mb()
        hold = [*command(one, "gt06"), "--devices", str(DEVICES), "--fixes", "0", "--hold", "30"]
        fleet = subprocess.Popen(hold, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_connections(one, DEVICES)
            memory_mb = one.rss_mb()
        finally:
            fleet.terminate()
            fleet.wait()
    each_kb = (memory_mb - alone_mb) * 1e3 / DEVICES
    return Found(
        "idle",
        [
            Measure("no connection: server's memory", "MB", [alone_mb]),
            Measure(f"{DEVICES:,} idle connections: server's memory", "MB", [memory_mb]),
            Measure("an idle connection", "kB", [each_kb]),
        ],
    )


def wait_for_connections(one: Server, wanted: int) -> None:
    """Until the server holds so many. Raises RuntimeError."""
    process = psutil.Process(one.pid)
    until = time.monotonic() + CONNECT_S_MAX
    while process.num_fds() < wanted:
        if time.monotonic() > until:
            raise RuntimeError(f"{process.num_fds()} of {wanted} connections after {CONNECT_S_MAX:g} s")
        time.sleep(0.05)


def start() -> Found:
    """From the process's first instruction to ``ready``: with a database to be made, and with one that is there."""
    fresh: list[float] = []
    again: list[float] = []
    for _ in range(STARTS):
        with server() as one:
            fresh.append(one.started_s)
            one.stop()
            again.append(one.start())
    return Found(
        "start",
        [
            Measure("start until ready, new database", "s", fresh, aim=3),
            Measure("start until ready, database there", "s", again, aim=3),
        ],
    )
