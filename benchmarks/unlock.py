"""From the release of a hidden tracker to its readable last quarter of an hour: it must not grow with what waited."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import psycopg
from measures import Found, Measure
from processes import Server, server

REPETITIONS = 5
SHORT, FULL = (1_000, 100_000, 1_000_000), (1_000, 100_000, 1_000_000, 10_000_000)

# a fix each second, back from a minute ago: ten million of them are four months
FILL = """
INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, speed_mps, protocol, attributes)
SELECT %(device)s, moment, moment, n, 52 + n %% 1000 / 1e5, 21 + n %% 1000 / 1e5, true, 10, 'gt06', '{"ignition": true, "sat": 11}'
FROM generate_series(1, %(count)s) n, LATERAL (SELECT date_trunc('second', now()) - interval '1 minute' - interval '1 second' * n) m (moment)
"""
HOLD = "INSERT INTO core.blocks (device_id, reason, since, note) VALUES (%s, 'hold', now(), 'bench')"
RELEASE = "DELETE FROM core.blocks WHERE device_id = %s AND reason = 'hold'"
READ = "SELECT * FROM display.positions WHERE device_id = %s AND fixed_at >= %s ORDER BY fixed_at"
SECONDS = 900  # of history that are looked at first


def run(*, full: bool) -> Found:
    """Milliseconds from the first statement of the release to the last row, and of a look before it."""
    measures: list[Measure] = []
    with server() as one:
        for count in FULL if full else SHORT:
            device = fill(one, count)
            measures += measured(one, device, count)
    return Found("unlock", measures)


def fill(one: Server, count: int) -> int:
    """A tracker with so many fixes, one each second; answers its number."""
    with psycopg.connect(one.dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT core.ensure_days(array_agg(d::date)) FROM generate_series(now() - interval '1 day' * %s, now(), '1 day') d",
            [count // 86_400 + 2],
        )
        row = connection.execute(
            "INSERT INTO core.devices (unique_id, account_id, name)"
            " SELECT 'W' || %s, id, 'W' FROM core.accounts WHERE name = 'default' RETURNING id",
            [count],
        ).fetchone()
        assert row is not None
        connection.execute(FILL, {"device": row[0], "count": count})
        connection.execute("ANALYZE core.positions")
    return int(row[0])


def measured(one: Server, device: int, count: int) -> list[Measure]:
    """All repetitions for one size."""
    unlocks: list[float] = []
    looks: list[float] = []
    with (
        psycopg.connect(one.dsn, autocommit=True) as operator,
        psycopg.connect(one.dsn, autocommit=True, options="-c role=tracker_display") as customer,
    ):
        row = operator.execute(
            "SELECT max(fixed_at) FROM core.positions WHERE device_id = %s", [device]
        ).fetchone()
        assert row is not None
        window: list[Any] = [device, row[0] - timedelta(seconds=SECONDS - 1)]
        for _ in range(REPETITIONS):
            operator.execute(HOLD, [device])
            begun = time.perf_counter()
            if customer.execute(READ, window).fetchall():
                raise RuntimeError("a hidden tracker was shown")
            looks.append((time.perf_counter() - begun) * 1e3)
            begun = time.perf_counter()
            operator.execute(RELEASE, [device])
            found = len(customer.execute(READ, window).fetchall())
            unlocks.append((time.perf_counter() - begun) * 1e3)
            if found != SECONDS:
                raise RuntimeError(f"{found} of {SECONDS} fixes can be read after the release")
    return [
        Measure(f"released, until its last 15 minutes are read with {count:,} fixes waiting", "ms", unlocks),
        Measure(f"a look while it is hidden with {count:,} fixes waiting", "ms", looks),
    ]
