"""Tables cut by time, on both homes: days, years for what is old, retention, and all at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from psycopg import AsyncConnection

from tests.servers.postgres import SharedPostgres
from tracker_server.config import Settings, Storage
from tracker_server.metrics import Metrics
from tracker_server.pipeline.quarantine import Room
from tracker_server.storage.database import Database, Role
from tracker_server.storage.maintenance import Maintenance, drop_days_before, ensure_days

TODAY = datetime.now(UTC).date()

PARTS = """
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'core.positions'::regclass ORDER BY 1
"""


@pytest.fixture
def database(home_dsn: str) -> Database:
    return Database(Settings(storage=Storage(dsn=home_dsn)))


@pytest.fixture
async def core(database: Database) -> AsyncGenerator[AsyncConnection[Any]]:
    """As the server itself connects: not the owner."""
    async with await database.connect(Role.CORE) as connection:
        yield connection


@pytest.fixture
async def native(postgres_dsn: str) -> AsyncGenerator[AsyncConnection[Any]]:
    database = Database(Settings(storage=Storage(dsn=postgres_dsn)))
    async with await database.connect(Role.CORE) as connection:
        yield connection


async def parts(connection: AsyncConnection[Any]) -> dict[str, str]:
    return dict(await (await connection.execute(PARTS)).fetchall())


async def fixes_at(connection: AsyncConnection[Any], *moments: datetime) -> None:
    for moment in moments:
        await connection.execute(
            "INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol)"
            " VALUES (1, %s, %s, 7, 52.5, 13.25, true, 'gt06')",
            [moment, moment],
        )


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


async def days_left(connection: AsyncConnection[Any]) -> list[date]:
    rows = await connection.execute(
        "SELECT (fixed_at AT TIME ZONE 'UTC')::date FROM core.positions ORDER BY 1"
    )
    return [day for (day,) in await rows.fetchall()]


async def test_a_day_has_a_partition_of_its_own(native: AsyncConnection[Any]) -> None:
    await ensure_days(native, [TODAY, TODAY + timedelta(days=1)])
    found = await parts(native)
    for day in (TODAY, TODAY + timedelta(days=1)):
        bounds = found[f"positions_{day:%Y%m%d}"]
        after = day + timedelta(days=1)
        assert bounds == f"FOR VALUES FROM ('{day} 00:00:00+00') TO ('{after} 00:00:00+00')"


async def test_old_days_share_a_year(native: AsyncConnection[Any]) -> None:
    await ensure_days(native, [date(2015, 3, 1), date(2015, 11, 30), date(2016, 2, 29)])
    found = await parts(native)
    assert (
        found["positions_20150101"]
        == "FOR VALUES FROM ('2015-01-01 00:00:00+00') TO ('2016-01-01 00:00:00+00')"
    )
    assert (
        found["positions_20160101"]
        == "FOR VALUES FROM ('2016-01-01 00:00:00+00') TO ('2017-01-01 00:00:00+00')"
    )
    assert len(found) == 2


async def test_the_year_that_ends_where_days_begin(native: AsyncConnection[Any]) -> None:
    """No gap and no overlap between the last year and the first day, wherever in the year that is."""
    await native.execute("RESET ROLE")
    row = await (
        await native.execute("SELECT daily_from FROM core.time_tables WHERE name = 'positions'")
    ).fetchone()
    assert row is not None
    first: date = row[0]
    around = [first + timedelta(days=n) for n in (-400, -40, -1, 0, 1)]
    await ensure_days(native, around)
    await fixes_at(native, *map(noon, around))
    assert await days_left(native) == around
    names = await parts(native)
    assert f"positions_{first:%Y%m%d}" in names
    before = first - timedelta(days=1)
    assert f"TO ('{first} 00:00:00+00')" in names[f"positions_{before:%Y}0101"]


async def test_ensuring_twice_changes_nothing(core: AsyncConnection[Any]) -> None:
    days = [TODAY, date(2015, 3, 1)]
    await ensure_days(core, days)
    once = await parts(core)
    await ensure_days(core, days)
    assert await parts(core) == once


async def test_ensuring_at_once(database: Database) -> None:
    days = [TODAY + timedelta(days=n) for n in range(-3, 4)] + [date(2015, 3, 1)]

    async def one() -> None:
        async with await database.connect(Role.CORE) as connection:
            await ensure_days(connection, days)

    await asyncio.gather(*(one() for _ in range(6)))
    async with await database.connect(Role.CORE) as connection:
        await fixes_at(connection, *map(noon, days))
        assert await days_left(connection) == sorted(days)


async def test_readers_and_writers_go_on_while_a_day_is_made(database: Database) -> None:
    async with await database.connect(Role.CORE) as writer, await database.connect(Role.CORE) as maker:
        await ensure_days(maker, [TODAY])
        async with writer.transaction():
            await fixes_at(writer, noon(TODAY))
            await maker.execute("SET lock_timeout = '5s'")
            await ensure_days(maker, [TODAY + timedelta(days=1)])
        assert await days_left(maker) == [TODAY]


async def test_retention_drops_whole_days(core: AsyncConnection[Any]) -> None:
    days = [TODAY - timedelta(days=n) for n in (3, 2, 1, 0)]
    await ensure_days(core, days)
    await fixes_at(core, *map(noon, days))
    dropped = await drop_days_before(core, days[2])
    assert len([name for name in dropped if "positions" in name or "_hyper_" in name]) == 2
    assert await days_left(core) == days[2:]
    assert await drop_days_before(core, days[2]) == []


async def test_retention_cuts_through_a_year(native: AsyncConnection[Any]) -> None:
    days = [date(2014, 7, 1), date(2015, 3, 1), date(2015, 6, 1)]
    await ensure_days(native, days)
    await fixes_at(native, *map(noon, days))
    dropped = await drop_days_before(native, date(2015, 4, 1))
    assert sorted(dropped) == [f"core.{table}_20140101" for table in ("events", "positions", "telemetry")]
    assert await days_left(native) == [date(2015, 6, 1)]


async def test_the_first_moment_of_a_day_is_kept(core: AsyncConnection[Any]) -> None:
    await ensure_days(core, [TODAY - timedelta(days=1), TODAY])
    midnight = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
    await fixes_at(core, midnight - timedelta(microseconds=1), midnight)
    await drop_days_before(core, TODAY)
    assert await days_left(core) == [TODAY]


async def test_what_was_dropped_can_come_back(core: AsyncConnection[Any]) -> None:
    """A tracker that was in a garage for months sends its old fixes after all."""
    day = TODAY - timedelta(days=3)
    for _ in range(2):
        await ensure_days(core, [day])
        await fixes_at(core, noon(day))
        assert await days_left(core) == [day]
        await drop_days_before(core, TODAY)
        assert await days_left(core) == []


async def test_the_daily_round_keeps_retention(home: SharedPostgres) -> None:
    with home.database() as dsn:
        settings = Settings(storage=Storage(dsn=dsn, retention_days=2))
        database = Database(settings)
        maintenance = Maintenance(database, settings, Room(100, 100, Metrics()))
        async with await database.connect(Role.CORE) as connection:
            days = [TODAY - timedelta(days=n) for n in (4, 3, 2, 1)]
            await ensure_days(connection, days)
            await fixes_at(connection, *map(noon, days))
            for _ in range(2):
                await maintenance.daily(connection)
                assert await days_left(connection) == days[2:]
            await fixes_at(connection, noon(TODAY + timedelta(days=2)))  # partitions made ahead


async def test_every_growing_table_is_a_hypertable(timescaledb_dsn: str) -> None:
    database = Database(Settings(storage=Storage(dsn=timescaledb_dsn)))
    async with await database.connect(Role.OWNER) as owner:
        rows = await owner.execute(
            "SELECT t.name, t.native, d.time_interval FROM core.time_tables t LEFT JOIN timescaledb_information.dimensions d"
            " ON d.hypertable_schema = 'core' AND d.hypertable_name = t.name AND d.column_name = t.time_column ORDER BY 1"
        )
        found = await rows.fetchall()
    assert [name for name, _, _ in found] == ["events", "positions", "telemetry"]
    assert {(native, interval) for _, native, interval in found} == {(False, timedelta(days=1))}


async def test_without_timescaledb_they_are_native(postgres_dsn: str) -> None:
    database = Database(Settings(storage=Storage(dsn=postgres_dsn)))
    async with await database.connect(Role.OWNER) as owner:
        rows = await owner.execute(
            "SELECT t.name, t.native, p.partstrat::text FROM core.time_tables t LEFT JOIN pg_partitioned_table p"
            " ON p.partrelid = format('core.%I', t.name)::regclass ORDER BY 1"
        )
        found = await rows.fetchall()
    assert [name for name, _, _ in found] == ["events", "positions", "telemetry"]
    assert {(native, kind) for _, native, kind in found} == {(True, "r")}
