"""Does it stay as fast as it grows? Ingest with rows already stored, and with fences."""

from __future__ import annotations

import asyncio
import random
import time

from floor import count
from ingest import CASES, flags
from measures import Found, Measure
from processes import Server, server, simulate
from unlock import fill

from tracker_server.config import Settings
from tracker_server.simulator.routes import TOWNS
from tracker_server.storage.database import Database, Role
from tracker_server.storage.fences import NewFence, add_fences
from tracker_server.track.fences.shapes import circle

ROWS = (0, 1_000_000, 10_000_000)
FENCES = (0, 100, 10_000)
REPETITIONS = 3
REST_S = 5.0  # the database is at rest when it has taken less than this share of a core for so long
REST_SHARE = 0.05
REST_S_MAX = 300.0
CASE = CASES["gt06"]


def run(seconds: float, *, full: bool) -> Found:
    """Fixes a second of 200 GT06 devices, and CPU for 1,000 of them, at each size."""
    measures: list[Measure] = []
    with server() as one:
        seed = 0
        for rows in ROWS if full else ROWS[:2]:
            if missing := rows - count(one):
                fill(one, max(missing, 1))
                at_rest(one)
            measures += at(one, f"with {rows:,} rows stored", seconds, seed)
            seed += REPETITIONS
        there = 0
        for fences in FENCES if full else FENCES[1:2]:
            asyncio.run(draw_fences(one, fences - there))
            there = fences
            measures += at(one, f"with {fences:,} fences", seconds, seed)
            seed += REPETITIONS
    return Found("growth", measures)


def at_rest(one: Server) -> None:
    """Wait until the database has looked through what was filled in: its vacuum of ten million rows takes a core for a minute, and
    a table that grows by itself is never looked through at once.
    """
    for _ in range(int(REST_S_MAX / REST_S)):
        before = one.database_cpu_s()
        time.sleep(REST_S)
        if one.database_cpu_s() - before < REST_S * REST_SHARE:
            return


async def draw_fences(one: Server, more: int) -> None:
    """So many more, circles within 30 km of the towns where simulated vehicles start."""
    rng = random.Random(more)
    towns = [rng.choice(TOWNS) for _ in range(more)]
    drawn = [
        NewFence(
            name=f"fence {number}",
            shape=circle(
                town[0] + rng.uniform(-0.3, 0.3), town[1] + rng.uniform(-0.3, 0.3), rng.uniform(50, 800)
            ),
        )
        for number, town in enumerate(towns)
    ]
    async with await Database(Settings(data_dir=one.data_dir)).connect(Role.CORE) as connection:
        found = await connection.execute("SELECT id FROM core.accounts WHERE name = 'default'")
        row = await found.fetchone()
        assert row is not None
        async with connection.transaction():
            await add_fences(connection, row[0], drawn)


def at(one: Server, what: str, seconds: float, seed: int) -> list[Measure]:
    """The repetitions at one size."""
    rates: list[float] = []
    cpus: list[float] = []
    guess = simulate(one, CASE.protocol, *flags(CASE, 50, 1_000 + seed)).report["answered_per_s"]
    fixes = max(20, int(guess * seconds) // 200)
    for number in range(seed, seed + REPETITIONS):
        simulate(one, CASE.protocol, *flags(CASE, 1, number), "--start", "2024-01-01T00:00:00Z")
        before = one.cpu_s()
        run_ = simulate(one, CASE.protocol, *flags(CASE, fixes, number))
        rates.append(run_.report["answered_per_s"])
        cpus.append((one.cpu_s() - before) / (fixes * 200) * 1_000)
    return [
        Measure(f"{CASE.name}: stored, then answered {what}", "fixes/s", rates, "more"),
        Measure(f"{CASE.name}: CPU of server and database {what}", "s/1000 fixes", cpus),
    ]
