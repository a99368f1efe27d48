"""Whether the simulator sees what another load generator sees: both against the same server, in turns.

``outside.py`` shares no code with the simulator; it is told the same journeys as places in a file, and says them in its own words, so
that the server has the same work. Each round has both in closed loop and both in open loop at a quarter of the rate, right after one
another, and which of them is first changes from round to round. Compared is within a round.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median

from floor import count
from measures import Found, Measure
from processes import Server, server, simulate

from tracker_server.simulator.routes import Journey

DEVICES = 200
ROUNDS = 9
APART_MAX = 10.0  # percent
EVERY_S = 10
SEED = 1
OPEN_SHARE = 0.25  # at half of what it can a server is nine tenths busy, for its batches are smaller
BEGIN = 1_700_000_000
FIRST_GUESS = 50  # fixes of each device, of the run that tells how many fill the time
OUTSIDE = Path(__file__).with_name("outside.py")
COMPARED = {"rate": ("rates", "fixes/s", 1.0), "p50_s": ("p50", "ms", 1e3), "p99_s": ("p99", "ms", 1e3)}

Seen = dict[str, float]


def by_simulator(one: Server, fixes: int, begin: int, rate: float) -> Seen:
    """One run of ours."""
    start = datetime.fromtimestamp(begin, UTC).isoformat()
    flags = ["--devices", str(DEVICES), "--fixes", str(fixes), "--interval", str(EVERY_S), "--start", start]
    flags += ["--seed", str(SEED)]
    if rate:
        flags += ["--rate", str(rate)]
    told = simulate(one, "gt06", *flags).report
    return {
        "rate": told["answered_per_s"],
        "p50_s": told["latency"]["p50_s"],
        "p99_s": told["latency"]["p99_s"],
        "cpu_us_per_fix": told["cpu_us_per_fix"],
    }


def places(one: Server) -> Path:
    """Where the other's drives stand."""
    return one.home / "places.csv"


def write_places(file: Path, fixes: int) -> None:
    """What the simulator's devices tell, apart from their names and times."""
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        for number in range(DEVICES):
            way = Journey(SEED, number, datetime.fromtimestamp(BEGIN, UTC), EVERY_S)
            for fix in islice(way, fixes):
                speed, course = round((fix.speed_mps or 0.0) * 3.6), int(fix.course_deg or 0)
                ignition = int(not way.parked)
                writer.writerow(
                    (number, fix.latitude, fix.longitude, speed, course, way.satellites, ignition)
                )


def from_outside(one: Server, fixes: int, begin: int, rate: float) -> Seen:
    """One run of the other's. Raises RuntimeError when an answer was wrong or missing."""
    flags = ["--devices", str(DEVICES), "--fixes", str(fixes), "--begin", str(begin), "--rate", str(rate)]
    flags += ["--places", str(places(one))]
    command = [sys.executable, str(OUTSIDE), str(one.ports["gt06"]), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the outside generator is not content: {done.stderr}")
    seen: Seen = json.loads(done.stdout)
    return seen


SIDES = {"simulator": by_simulator, "outside": from_outside}


def run(seconds: float) -> Found:
    """All rounds; each fix that was answered must be a row."""
    seen: dict[tuple[str, str], list[Seen]] = defaultdict(list)
    with server() as one:
        begin = BEGIN
        write_places(places(one), FIRST_GUESS)
        # the server knows all devices then
        by_simulator(one, FIRST_GUESS, begin, 0.0)
        guess = from_outside(one, FIRST_GUESS, begin, 0.0)
        begin += FIRST_GUESS * EVERY_S
        fixes = max(FIRST_GUESS, int(guess["rate"] * seconds) // DEVICES)
        write_places(places(one), fixes)
        open_rate = guess["rate"] * OPEN_SHARE
        for number in range(ROUNDS):
            for loop, rate, share in (("closed", 0.0, 1), ("open", open_rate, 2)):
                for name in sorted(SIDES, reverse=bool(number % 2)):
                    sent, stored, cpu_s = fixes // share * DEVICES, count(one), one.cpu_s()
                    told_of = SIDES[name](one, fixes // share, begin, rate)
                    told_of["server_us_per_fix"] = (one.cpu_s() - cpu_s) / sent * 1e6
                    seen[loop, name].append(told_of)
                    if (rows := count(one) - stored) != sent:
                        raise RuntimeError(f"{name}: {sent} fixes were answered, {rows} rows were stored")
                begin += fixes * EVERY_S
    return Found("agreement", told(seen))


def told(seen: dict[tuple[str, str], list[Seen]]) -> list[Measure]:
    """What each saw, and how far apart they are in the median of the rounds."""
    measures: list[Measure] = []
    for loop in ("closed", "open"):
        ours, theirs = seen[loop, "simulator"], seen[loop, "outside"]
        for key, (words, unit, factor) in COMPARED.items():
            for name, runs in (("simulator", ours), ("outside", theirs)):
                better = "more" if unit == "fixes/s" else "less"
                values = [each[key] * factor for each in runs]
                measures.append(Measure(f"{loop} loop, {words}: {name}", unit, values, better))
            measures.append(
                Measure(f"{loop} loop, {words} apart", "%", [apart(ours, theirs, key)], aim=APART_MAX)
            )
        for name, runs in (("simulator", ours), ("outside", theirs)):
            for key, words in (
                ("cpu_us_per_fix", "CPU"),
                ("server_us_per_fix", "CPU of server and database"),
            ):
                measures.append(
                    Measure(f"{loop} loop, {words}: {name}", "µs/fix", [each[key] for each in runs])
                )
    return measures


def apart(ours: list[Seen], theirs: list[Seen], key: str) -> float:
    """By how many percent ours is off theirs, in the median of the rounds."""
    ratios = [mine[key] / other[key] for mine, other in zip(ours, theirs, strict=True)]
    return abs(median(ratios) - 1) * 100
