"""What answers cost: a day's history and the latest of a whole fleet over HTTP, a thousand open sockets.

Beside both answers stands their floor: a plain query of the same rows, with every row fetched by a client in C.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import time
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, LiteralString

import msgspec
import psycopg
from measures import Found, Measure
from msgspec import Struct
from processes import Server, free_port, server
from websockets.asyncio.client import ClientConnection, connect

TOKEN = "benchmark"
DAY_FIXES, FLEET = 8_640, 2_000
REPETITIONS = 15
SOCKETS, UPDATES_PER_S = 1_000, 1_000
WARM_S, PARTS = 3.0, 5

USER = """
WITH made AS (INSERT INTO core.users (email, name, role) VALUES ('bench@example.com', 'bench', 'admin') RETURNING id)
INSERT INTO core.tokens (digest, kind, user_id) SELECT %s, 'access', id FROM made
"""
DEVICES = """
INSERT INTO core.devices (unique_id, account_id, name)
SELECT 'A' || n, a.id, 'A' || n FROM core.accounts a, generate_series(1, %s) n WHERE a.name = 'default' RETURNING id
"""
# a fix each ten seconds of yesterday, on a way that turns; as much beside each as a common tracker says
DAY: LiteralString = """
INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, altitude_m, speed_mps, course_deg,
                            protocol, attributes)
SELECT %(device)s, moment, moment + interval '0.7 seconds', n, 52 + sin(n / 500.0) / 10, 21 + cos(n / 700.0) / 10, true,
       100 + n %% 50, n %% 30, n %% 360, 'teltonika',
       jsonb_build_object('ignition', true, 'sat', 4 + n %% 12, 'power', round(12.4 + n %% 10 / 10.0, 1), 'battery', 4.1, 'gsm', 4,
                          'odometer', 100000 + n * 20)
FROM generate_series(0, %(count)s - 1) n,
     LATERAL (SELECT date_trunc('day', now()) - interval '1 day' + interval '10 seconds' * n) m (moment)
"""
TRIPS = """
INSERT INTO core.trips (device_id, started_at, ended_at, decided_at, start_latitude, start_longitude, start_digest, end_latitude,
                        end_longitude, end_digest, distance_mm, odometer_start_mm, speed_max_mps)
SELECT %s, begun, begun + interval '90 minutes', begun + interval '95 minutes', 52, 21, 0, 52, 21, 0, 90000000, n * 90000000, 30
FROM generate_series(0, 7) n, LATERAL (SELECT date_trunc('day', now()) - interval '1 day' + interval '3 hours' * n) b (begun)
"""
FENCE = """
INSERT INTO core.fences (account_id, name, kind, shape)
SELECT id, 'yard', 'circle', '{}' FROM core.accounts WHERE name = 'default' RETURNING id
"""
VISITS = """
INSERT INTO core.visits (device_id, fence_id, entered_at, left_at, decided_at)
SELECT %s, %s, begun, begun + interval '1 hour', begun
FROM generate_series(0, 5) n, LATERAL (SELECT date_trunc('day', now()) - interval '1 day' + interval '4 hours' * n) b (begun)
"""
LATEST = """
INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, speed_mps, protocol, attributes)
SELECT d, now(), now(), d, 52 + d %% 1000 / 1e4, 21, true, 10, 'gt06', '{"ignition": true, "sat": 11, "power": 12.4}'
FROM unnest(%s::bigint[]) d
"""
STATE = """
UPDATE core.device_state s
SET contact_at = p.fixed_at, newest_fixed_at = p.fixed_at, latest_at = p.fixed_at, latest_fixed_at = p.fixed_at, latest_digest = p.digest
FROM core.positions p WHERE p.device_id = s.device_id AND s.device_id = ANY(%s) AND p.digest = s.device_id
"""
WATCHERS = """
WITH watched AS (SELECT d FROM unnest(%s::bigint[]) d),
     made AS (
         INSERT INTO core.users (email, name, role, account_id, restricted)
         SELECT d || '@example.com', d, 'viewer', a.id, true FROM watched, core.accounts a WHERE a.name = 'default' RETURNING id, name
     ),
     linked AS (INSERT INTO core.links (owner, owner_id, kind, object_id) SELECT 'user', id, 'device', name::bigint FROM made)
INSERT INTO core.tokens (digest, kind, user_id) SELECT sha256(('screen-' || name)::bytea), 'access', id FROM made
"""
# the moment of its transaction, to the millisecond: a latest fix is one that is not older than the one before
MOVE = """
WITH moved AS (
    INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, speed_mps, protocol, attributes)
    SELECT d, now(), now(), d, 52 + random() / 10, 21 + random() / 10, true, 10, 'gt06', '{"ignition": true, "sat": 11}'
    FROM unnest(%s::bigint[]) d RETURNING device_id, fixed_at, digest
)
UPDATE core.device_state s
SET contact_at = m.fixed_at, newest_fixed_at = m.fixed_at, latest_at = m.fixed_at, latest_fixed_at = m.fixed_at, latest_digest = m.digest
FROM moved m WHERE s.device_id = m.device_id
"""
DAY_FLOOR = "SELECT * FROM core.positions WHERE device_id = %s AND fixed_at >= %s AND fixed_at < %s ORDER BY fixed_at, digest"
LATEST_FLOOR = """
SELECT p.* FROM core.device_state s
JOIN core.positions p ON p.device_id = s.device_id AND p.fixed_at = s.latest_fixed_at AND p.digest = s.latest_digest
"""


def run(seconds: float) -> Found:
    """Answers first, then the sockets."""
    extra = {"TRACKER_API__HOST": "127.0.0.1", "TRACKER_API__PORT": str(port := free_port())}
    with server(extra) as one, psycopg.connect(one.dsn, autocommit=True) as connection:
        devices = fill(connection)
        measures = history(one, port, connection, devices[0]) + latest(one, port, connection)
        measures += asyncio.run(sockets(one, port, devices, seconds))
    return Found("api", measures)


def fill(connection: psycopg.Connection[Any]) -> list[int]:
    """A fleet, a day of its first tracker, and who asks; answers the trackers' numbers."""
    connection.execute("SELECT core.ensure_days(ARRAY[now()::date - 1, now()::date])")
    connection.execute(USER, [hashlib.sha256(TOKEN.encode()).digest()])
    devices = [row[0] for row in connection.execute(DEVICES, [FLEET])]
    connection.execute(DAY, {"device": devices[0], "count": DAY_FIXES})
    connection.execute(TRIPS, [devices[0]])
    fence = connection.execute(FENCE).fetchone()
    assert fence is not None
    connection.execute(VISITS, [devices[0], fence[0]])
    connection.execute(LATEST, [devices])
    connection.execute(STATE, [devices])
    connection.execute(
        "VACUUM ANALYZE core.positions, core.device_state, core.devices, core.trips, core.visits"
    )
    return devices


def history(one: Server, port: int, connection: psycopg.Connection[Any], device: int) -> list[Measure]:
    """One day of one tracker."""
    row = connection.execute("SELECT date_trunc('day', now())").fetchone()
    assert row is not None
    end = row[0]
    begin = connection.execute("SELECT %s - interval '1 day'", [end]).fetchone()
    assert begin is not None
    asked = f"/api/positions?deviceId={device}&from={begin[0]:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}"
    floor = floor_ms(connection, DAY_FLOOR, [device, *begin, end], DAY_FIXES)
    return beside(f"a day of {DAY_FIXES:,} fixes", answers(one, port, asked, DAY_FIXES), floor, 40)


def latest(one: Server, port: int, connection: psycopg.Connection[Any]) -> list[Measure]:
    """Where all trackers are."""
    floor = floor_ms(connection, LATEST_FLOOR, [], FLEET)
    return beside(f"latest of {FLEET:,} trackers", answers(one, port, "/api/positions", FLEET), floor, 25)


def beside(name: str, found: tuple[list[float], float], floor: list[float], aim_ms: float) -> list[Measure]:
    """An answer's figures and its floor's."""
    walls, cpu_ms = found
    return [
        Measure(f"{name}: whole answer", "ms", walls, aim=aim_ms),
        Measure(f"{name}: CPU of server and database", "ms", [cpu_ms]),
        Measure(f"{name}: plain query of the same rows", "ms", floor),
    ]


def floor_ms(
    connection: psycopg.Connection[Any], statement: LiteralString, asked: list[Any], rows: int
) -> list[float]:
    """The same rows by a plain query, fetched whole; milliseconds."""
    walls: list[float] = []
    for _ in range(REPETITIONS + 1):
        begun = time.perf_counter()
        found = connection.execute(statement, asked, binary=True).fetchall()
        walls.append((time.perf_counter() - begun) * 1e3)
        if len(found) != rows:
            raise RuntimeError(f"{len(found)} rows instead of {rows}")
    return walls[1:]


def answers(one: Server, port: int, path: str, rows: int) -> tuple[list[float], float]:
    """Milliseconds from request to last byte of each answer, and of CPU for one. The first warms up and is checked."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    walls: list[float] = []
    cpu_s = 0.0
    try:
        for turn in range(REPETITIONS + 1):
            if turn == 1:
                cpu_s = one.cpu_s()
            begun = time.perf_counter()
            client.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
            answer = client.getresponse()
            body = answer.read()
            walls.append((time.perf_counter() - begun) * 1e3)
            if answer.status != 200 or body.count(b'"fixTime":') != rows:
                raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
        cpu_s = one.cpu_s() - cpu_s
    finally:
        client.close()
    return walls[1:], cpu_s * 1e3 / REPETITIONS


async def sockets(one: Server, port: int, devices: list[int], seconds: float) -> list[Measure]:
    """A thousand customers with a tracker each, and a thousand fixes a second for all of them together. Fixes come by
    way of the database, as those of another process do: what is measured is telling them.
    """
    watched = devices[:SOCKETS]
    async with await psycopg.AsyncConnection.connect(one.dsn, autocommit=True) as connection:
        await connection.execute(WATCHERS, [watched])
        screens = [Screen(device) for device in watched]
        async with AsyncExitStack() as stack:
            for screen in screens:
                await screen.open(stack, port)
            readers = [asyncio.create_task(screen.read()) for screen in screens]
            try:
                await tell(connection, watched, WARM_S)
                memory, cpu_s = [one.rss_mb()], one.cpu_s()
                for screen in screens:
                    screen.late_s.clear()
                for _ in range(PARTS):
                    await tell(connection, watched, max(seconds, PARTS) / PARTS)
                    memory.append(one.rss_mb())
                cpu_s = one.cpu_s() - cpu_s
            finally:
                for reader in readers:
                    reader.cancel()
                await asyncio.gather(*readers, return_exceptions=True)
    late_ms = sorted(late * 1e3 for screen in screens for late in screen.late_s)
    name = f"{SOCKETS:,} sockets, {UPDATES_PER_S:,} updates/s"
    return [
        Measure(
            f"{name}: received",
            "updates/s",
            [len(late_ms) / max(seconds, PARTS)],
            "more",
            UPDATES_PER_S * 0.99,
        ),
        Measure(f"{name}: commit to socket, median", "ms", [late_ms[len(late_ms) // 2]]),
        Measure(f"{name}: commit to socket, 99 of 100", "ms", [late_ms[len(late_ms) * 99 // 100]]),
        Measure(f"{name}: memory that the server gained", "MB", [memory[-1] - memory[0]]),
        Measure(f"{name}: CPU of server and database", "s/s", [cpu_s / max(seconds, PARTS)]),
    ]


class Screen:
    """One customer's open page. ``late_s``: of each update, from its commit to here."""

    def __init__(self, device: int) -> None:
        self.device = device
        self.late_s: list[float] = []
        self._socket: ClientConnection | None = None

    async def open(self, stack: AsyncExitStack, port: int) -> None:
        """Connect, and take what comes first."""
        url = f"ws://127.0.0.1:{port}/api/socket?token=screen-{self.device}"
        self._socket = await stack.enter_async_context(connect(url, compression=None))
        first = msgspec.json.decode(await self._socket.recv())
        if [position["deviceId"] for position in first["positions"]] != [self.device]:
            raise RuntimeError(f"tracker {self.device}: its socket begins with {first}")

    async def read(self) -> None:
        """Take what comes."""
        assert self._socket is not None
        async for text in self._socket:
            now = time.time()
            for position in msgspec.json.decode(text, type=Told).positions:
                self.late_s.append(now - position.fix_time.timestamp())


class Moved(Struct, rename="camel"):
    """As much of a position as is looked at."""

    fix_time: datetime


class Told(Struct):
    """As much of a message."""

    positions: list[Moved] = []


async def tell(connection: psycopg.AsyncConnection[Any], devices: list[int], seconds: float) -> None:
    """New fixes for some time, each tracker in its turn, ten batches a second."""
    size = UPDATES_PER_S // 10
    turns = [devices[begin : begin + size] for begin in range(0, len(devices), size)]
    begun = time.monotonic()
    for turn in range(round(seconds * 10)):
        some = turns[turn % len(turns)]
        async with connection.transaction():
            await connection.execute(MOVE, [some])
            await connection.execute("SELECT pg_notify('tracker_live', %s)", [" ".join(map(str, [0, *some]))])
        await asyncio.sleep(max(begun + (turn + 1) / 10 - time.monotonic(), 0))
