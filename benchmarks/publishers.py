"""QoS 1 from 200 publishers, one fix a message, 20 on their way: our endpoint, Mosquitto before us, Mosquitto alone."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from floor import count
from measures import Found, Measure
from processes import Server, Watch, free_port, server, simulate

PUBLISHERS = 200
WINDOW = 20
REPETITIONS = 3
FIRST_GUESS = 20_000
ENDPOINT_AIM = 25_000.0
BROKER_AIM = 15_000.0
STORED_S_MAX = 300.0


def run(seconds: float) -> Found:
    """All three, one after the other, so that they can be compared."""
    watch = Watch()
    with mosquitto() as port:
        direct, cpu = endpoint(seconds)
        through = through_broker(seconds, port)
        bare = broker_alone(seconds, port)
    name = f"MQTT, {PUBLISHERS} publishers, QoS 1"
    measures = [
        Measure(f"{name}: stored, then acknowledged", "fixes/s", direct, "more", ENDPOINT_AIM),
        Measure(f"{name}: CPU of server and database", "s/1000 fixes", cpu, "less"),
        Measure(f"{name}: through Mosquitto, until all is stored", "fixes/s", through, "more", BROKER_AIM),
        Measure(f"{name}: Mosquitto alone, nobody subscribed", "messages/s", bare),
    ]
    return Found("mqtt", measures, watch.disturbed(0.0))


def flags(fixes: int, seed: int) -> list[str]:
    return [
        "--devices", str(PUBLISHERS), "--fixes", str(fixes), "--window", str(WINDOW), "--seed", str(seed), "--interval", "1",
    ]  # fmt: skip


def fixes_for(seconds: float, per_s: float) -> int:
    """Of each publisher, to fill the time."""
    return max(int(per_s * seconds) // PUBLISHERS, 20)


def endpoint(seconds: float) -> tuple[list[float], list[float]]:
    """Rates, and CPU seconds of server and database for 1,000 fixes."""
    rates: list[float] = []
    cpus: list[float] = []
    with server() as one:
        one.ports["owntracks"] = one.mqtt_port
        guess = simulate(one, "owntracks", *flags(FIRST_GUESS // PUBLISHERS, 1_000))
        fixes = fixes_for(seconds, guess.report["answered_per_s"])
        for seed in range(REPETITIONS):
            simulate(one, "owntracks", *flags(1, seed), "--start", "2024-01-01T00:00:00Z")  # register them
            before, cpu_s = count(one), one.cpu_s()
            done = simulate(one, "owntracks", *flags(fixes, seed))
            cpus.append((one.cpu_s() - cpu_s) / (fixes * PUBLISHERS) * 1_000)
            check(count(one) - before, fixes * PUBLISHERS)
            rates.append(done.report["answered_per_s"])
    return rates, cpus


def through_broker(seconds: float, port: int) -> list[float]:
    """From the first publish until the last row."""
    rates: list[float] = []
    with server({"TRACKER_MQTT__BROKER__URL": f"mqtt://127.0.0.1:{port}"}) as one:
        one.ports["owntracks"] = port
        guess = simulate(one, "owntracks", *flags(FIRST_GUESS // PUBLISHERS, 1_000))
        wait_for(one, FIRST_GUESS)
        fixes = fixes_for(seconds, guess.report["answered_per_s"] / 2)
        for seed in range(REPETITIONS):
            before = count(one)
            simulate(one, "owntracks", *flags(1, seed), "--start", "2024-01-01T00:00:00Z")
            wait_for(one, before + PUBLISHERS)
            begun = time.perf_counter()
            simulate(one, "owntracks", *flags(fixes, seed))
            wait_for(one, before + PUBLISHERS + fixes * PUBLISHERS)
            rates.append(fixes * PUBLISHERS / (time.perf_counter() - begun))
    return rates


def broker_alone(seconds: float, port: int) -> list[float]:
    """What the broker acknowledges when it has nobody to hand it to."""
    with tempfile.TemporaryDirectory() as home:
        nobody = Server(Path(home))
        nobody.ports["owntracks"] = port
        guess = simulate(nobody, "owntracks", *flags(FIRST_GUESS // PUBLISHERS, 1_000))
        fixes = fixes_for(seconds, guess.report["answered_per_s"])
        runs = [simulate(nobody, "owntracks", *flags(fixes, seed)) for seed in range(REPETITIONS)]
    return [run.report["answered_per_s"] for run in runs]


def wait_for(one: Server, rows: int) -> None:
    """Until so many are stored."""
    until = time.perf_counter() + STORED_S_MAX
    while (found := count(one)) < rows:
        if time.perf_counter() > until:
            raise RuntimeError(f"{found} rows of {rows} were stored in {STORED_S_MAX:g} s")
        time.sleep(0.02)
    check(found, rows)


def check(found: int, rows: int) -> None:
    if found != rows:
        raise RuntimeError(f"{rows} fixes were published, {found} rows are stored")


@contextmanager
def mosquitto() -> Generator[int]:
    """A real one on a port of loopback."""
    program = shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    if program is None:
        raise RuntimeError("mosquitto is not here; install it (Debian: apt-get install mosquitto)")
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        config = Path(home) / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
        command: Sequence[str] = [program, "-c", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            yield port
        finally:
            process.terminate()
            process.wait()
