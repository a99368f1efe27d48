"""QoS 1 from 200 publishers, one fix a message, 20 on their way: our endpoint, Mosquitto before us, Mosquitto alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import mqtt_part
import psycopg
from floor import count
from measures import Found, Measure
from processes import Server, Watch, free_port, server

PUBLISHERS = 200
WINDOW = 20
PROCESSES = 2
REPETITIONS = 3
FIRST_GUESS = 20_000
ENDPOINT_AIM = 25_000.0
BROKER_AIM = 15_000.0
STORED_S_MAX = 300.0
FLOOD_S_MAX = 600.0
FLOOD = Path(__file__).with_name("flood.py")
SINK = Path(__file__).with_name("sink.py")
HANDED_ON_GUESS = 10_000.0


def run(seconds: float, *, full: bool) -> Found:
    """All of them, one after the other, so that they can be compared, of a server of ``PROCESSES``, or of as many as
    ``--workers`` says; ``full``: those that divide a broker's work, too, and what MQTT itself costs.
    """
    watch, workers = Watch(), Server.workers
    Server.workers = workers if workers > 1 else PROCESSES
    try:
        measures = _measures(seconds, full=full)
    finally:
        Server.workers = workers
    return Found("mqtt", measures, watch.disturbed(0.0))


def _measures(seconds: float, *, full: bool) -> list[Measure]:
    with mosquitto() as port:
        direct, cpu, own = endpoint(seconds)
        through = through_broker(seconds, port)
    with mosquitto() as port:  # one that keeps nothing for anybody
        handed_on = broker_to_a_sink(seconds, port)
        bare = broker_alone(seconds, port)
    name = f"MQTT, {PUBLISHERS} publishers, QoS 1, {Server.workers} processes"
    measures = [
        Measure(f"{name}: stored, then acknowledged", "fixes/s", direct, "more", ENDPOINT_AIM),
        Measure(f"{name}: CPU of server and database", "s/1000 fixes", cpu, "less"),
        Measure(f"{name}: the publishers' own CPU", "µs/fix", own),
        Measure(f"{name}: through Mosquitto, until all is stored", "fixes/s", through, "more", BROKER_AIM),
        Measure(
            f"{name}: Mosquitto alone, to one subscriber that only acknowledges", "messages/s", handed_on
        ),
        Measure(f"{name}: Mosquitto alone, nobody subscribed", "messages/s", bare),
    ]
    if full:
        with mosquitto() as port:
            divided = through_broker(seconds, port, group="bench")
        what = f"{name}: through Mosquitto to a group of all processes"
        measures += [Measure(what, "fixes/s", divided, "more"), mqtt_part.measure()]
    return measures


def flood(port: int, fixes: int, seed: int, *, start: int = 0) -> dict[str, float]:
    """All publishers, with so many fixes each; what flood.py tells of it."""
    words = ["--port", port, "--publishers", PUBLISHERS, "--window", WINDOW]
    words += ["--fixes", fixes, "--seed", seed, "--start", start]
    command = [sys.executable, str(FLOOD), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FLOOD_S_MAX)
    if done.returncode:
        raise RuntimeError(f"the publishers failed: {done.stderr[-1_000:]}")
    return json.loads(done.stdout)


def fixes_for(seconds: float, per_s: float) -> int:
    """Of each publisher, to fill the time."""
    return max(int(per_s * seconds) // PUBLISHERS, WINDOW)


def endpoint(seconds: float) -> tuple[list[float], list[float], list[float]]:
    """Rates; CPU seconds of server and database for 1,000 fixes; the publishers' CPU for one."""
    rates: list[float] = []
    cpus: list[float] = []
    own: list[float] = []
    with server() as one:
        port = one.mqtt_port
        guess = flood(port, FIRST_GUESS // PUBLISHERS, 1_000)
        fixes = fixes_for(seconds, guess["answered_per_s"])
        for seed in range(REPETITIONS):
            flood(port, 1, seed, start=-86_400)  # register them
            before, cpu_s = count(one), one.cpu_s()
            done = flood(port, fixes, seed)
            cpus.append((one.cpu_s() - cpu_s) / (fixes * PUBLISHERS) * 1_000)
            check(count(one) - before, fixes * PUBLISHERS)
            rates.append(done["answered_per_s"])
            own.append(done["cpu_us_per_fix"])
    return rates, cpus, own


def through_broker(seconds: float, port: int, group: str = "") -> list[float]:
    """From the first publish until the last row. Without a group one process takes what the broker has."""
    rates: list[float] = []
    settings = {
        "TRACKER_MQTT__BROKER__URL": f"mqtt://127.0.0.1:{port}",
        "TRACKER_MQTT__BROKER__RECEIVE_MAX": str(PUBLISHERS * WINDOW),
        "TRACKER_MQTT__BROKER__GROUP": group,
    }
    with server(settings) as one:
        flood(port, FIRST_GUESS // PUBLISHERS, 1_000)
        begun = time.perf_counter()
        wait_for(one, FIRST_GUESS)
        fixes = fixes_for(seconds, FIRST_GUESS / max(time.perf_counter() - begun, 1.0))
        for seed in range(REPETITIONS):
            before = count(one)
            flood(port, 1, seed, start=-86_400)
            wait_for(one, before + PUBLISHERS)
            begun = flood(port, fixes, seed)["begun_at"]
            wait_for(one, before + PUBLISHERS + fixes * PUBLISHERS)
            rates.append(fixes * PUBLISHERS / (time.perf_counter() - begun))
    return rates


def broker_alone(seconds: float, port: int) -> list[float]:
    """What the broker acknowledges when it has nobody to hand it to."""
    guess = flood(port, FIRST_GUESS // PUBLISHERS, 1_000)
    fixes = fixes_for(seconds, guess["answered_per_s"])
    return [flood(port, fixes, seed)["answered_per_s"] for seed in range(REPETITIONS)]


def broker_to_a_sink(seconds: float, port: int) -> list[float]:
    """What the broker hands on, from the first publish until the last is acknowledged: no server behind it does better."""
    fixes = fixes_for(seconds, HANDED_ON_GUESS)
    rates: list[float] = []
    for seed in range(REPETITIONS):
        words = ["--port", port, "--messages", fixes * PUBLISHERS, "--receive-max", PUBLISHERS * WINDOW]
        with subprocess.Popen([sys.executable, str(SINK), *map(str, words)], stdout=subprocess.PIPE) as sink:
            assert sink.stdout is not None
            if sink.stdout.readline() != b"ready\n":
                raise RuntimeError("the subscriber that only acknowledges has failed")
            begun = flood(port, fixes, seed)["begun_at"]
            sink.wait(STORED_S_MAX)
            rates.append(fixes * PUBLISHERS / (time.perf_counter() - begun))
    return rates


def wait_for(one: Server, rows: int) -> None:
    """Until so many are stored. They are counted when so many have got a number: to count is work that the database would not
    do for rows.
    """
    until = time.perf_counter() + STORED_S_MAX
    found = 0
    with psycopg.connect(one.dsn, autocommit=True) as connection:
        for question in ("SELECT last_value FROM core.position_ids", "SELECT count(*) FROM core.positions"):
            while (found := connection.execute(question).fetchone()[0]) < rows:  # pyright: ignore[reportOptionalSubscript]
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
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
        )
        command: Sequence[str] = [program, "-c", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            yield port
        finally:
            process.terminate()
            process.wait()
