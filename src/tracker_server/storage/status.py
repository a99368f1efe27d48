"""What a database is like: its shape, its age, its size, and whether it is as we need it. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection, sql

from tracker_server.storage.migrate import applied, known_migrations, missing_of

COUNT_BYTES_MAX = 16 * 1024 * 1024  # of a partition that nobody has analysed yet; it is counted
ROW_BYTES = 180  # of a position, about; where a partition is too big to count and not analysed

SHAPE = """
SELECT current_setting('server_version'), current_database(), pg_database_size(current_database()),
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       current_setting('timescaledb.license', true)
"""
TABLES = """
SELECT t.name, t.time_column, t.native, t.daily_from FROM core.time_tables t ORDER BY t.name
"""
LEAVES = """
SELECT c.relname, c.reltuples, pg_relation_size(c.oid), pg_total_relation_size(c.oid),
       to_date(right(c.relname, 8), 'YYYYMMDD') AS day
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = %s::regclass ORDER BY day
"""
HYPERTABLE = """
SELECT count(*), min(range_start)::date, max(range_start)::date,
       coalesce(hypertable_size(%(table)s::regclass), 0), approximate_row_count(%(table)s::regclass)
FROM timescaledb_information.chunks WHERE hypertable_schema = 'core' AND hypertable_name = %(name)s
"""
MISSING_DAYS = """
SELECT t.name, day::date
FROM core.time_tables t,
     generate_series(current_date, current_date + %s, interval '1 day') AS day,
     core.partition_bounds(day::date, t.daily_from) AS b
WHERE t.native AND to_regclass(format('core.%%I', t.name || '_' || to_char(b.lower_day, 'YYYYMMDD'))) IS NULL
ORDER BY 1, 2
"""
READABLE = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'core' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND has_schema_privilege(%(role)s, n.oid, 'USAGE') AND has_table_privilege(%(role)s, c.oid, 'SELECT')
ORDER BY 1
"""


class Shape(Struct, frozen=True):
    """The server and the database. ``timescaledb`` is its version, None without it."""

    version: str
    database: str
    size_bytes: int
    timescaledb: str | None
    timescaledb_license: str | None


class TimeTable(Struct, frozen=True):
    """A table that grows with time. ``rows_estimate`` is the planner's; days are UTC's, None while it is empty."""

    table: str
    kind: str
    partitions: int
    rows_estimate: int
    size_bytes: int
    oldest_day: date | None
    newest_day: date | None


class Counts(Struct, frozen=True):
    """How many there are."""

    accounts: int
    trackers: int
    blocked: int
    quarantine_frames: int


class Fill(Struct, frozen=True):
    """How full the quarantine is. ``full_devices``: identifiers of which no more frames are kept."""

    frames: int
    full_devices: int


async def is_current(connection: AsyncConnection[Any]) -> bool:
    """Whether every migration of this program is applied. Raises MigrationError for one that does not fit."""
    return not missing_of(known_migrations(), await applied(connection))


async def shape(connection: AsyncConnection[Any]) -> Shape:
    """What server it is and how large the database."""
    row = await (await connection.execute(SHAPE)).fetchone()
    assert row is not None
    return Shape(*row)


async def counts(connection: AsyncConnection[Any]) -> Counts:
    """How many accounts, trackers, hidden trackers and kept frames there are."""
    row = await (
        await connection.execute(
            "SELECT (SELECT count(*) FROM core.accounts),"
            " (SELECT count(*) FROM core.devices WHERE removed_at IS NULL),"
            " (SELECT count(DISTINCT d.id) FROM core.hidden h JOIN core.devices d ON d.id = h.device_id WHERE d.removed_at IS NULL),"
            " (SELECT count(*) FROM core.quarantine)"
        )
    ).fetchone()
    assert row is not None
    return Counts(*row)


async def time_tables(connection: AsyncConnection[Any]) -> list[TimeTable]:
    """Each table that grows with time."""
    rows = await (await connection.execute(TABLES)).fetchall()
    return [
        await (_native(connection, name, column, daily) if native else _hypertable(connection, name))
        for name, column, native, daily in rows
    ]


async def _hypertable(connection: AsyncConnection[Any], name: str) -> TimeTable:
    found = await connection.execute(HYPERTABLE, {"name": name, "table": f"core.{name}"})
    row = await found.fetchone()
    assert row is not None
    chunks, oldest, newest, size_bytes, rows = row
    return TimeTable(name, "hypertable", chunks, rows, size_bytes, oldest, newest)


async def _native(connection: AsyncConnection[Any], name: str, column: str, daily_from: date) -> TimeTable:
    leaves = await (await connection.execute(LEAVES, [f"core.{name}"])).fetchall()
    estimate = 0
    for leaf, tuples, own_bytes, _, _ in leaves:
        estimate += await _rows_of(connection, leaf, int(tuples), own_bytes)
    days = [(leaf, day >= daily_from) for leaf, _, own_bytes, _, day in leaves if own_bytes]
    return TimeTable(
        name,
        "partitions",
        len(leaves),
        estimate,
        sum(total for _, _, _, total, _ in leaves),
        await _edge_day(connection, column, days, newest=False),
        await _edge_day(connection, column, days[::-1], newest=True),
    )


async def _rows_of(connection: AsyncConnection[Any], leaf: str, tuples: int, own_bytes: int) -> int:
    if tuples >= 0 or not own_bytes:
        return max(tuples, 0)
    if own_bytes > COUNT_BYTES_MAX:
        return own_bytes // ROW_BYTES
    statement = sql.SQL("SELECT count(*) FROM core.{}").format(sql.Identifier(leaf))
    row = await (await connection.execute(statement)).fetchone()
    return row[0] if row else 0


async def _edge_day(
    connection: AsyncConnection[Any], column: str, leaves: Sequence[tuple[str, bool]], *, newest: bool
) -> date | None:
    """The day of the first of these partitions that holds anything. In a daily one any row tells it."""
    for leaf, daily in leaves:
        choose = "SELECT {}::date FROM core.{} LIMIT 1"
        if not daily:
            choose = "SELECT max({})::date FROM core.{}" if newest else "SELECT min({})::date FROM core.{}"
        statement = sql.SQL(choose).format(sql.Identifier(column), sql.Identifier(leaf))
        row = await (await connection.execute(statement)).fetchone()
        if row and row[0] is not None:
            return row[0]
    return None


# ---------------------------------------------------------------------- is it well?


async def missing_partitions(connection: AsyncConnection[Any], days_ahead: int) -> list[tuple[str, date]]:
    """Tables and days, from today on, for which there is no partition yet; none for hypertables."""
    return await (await connection.execute(MISSING_DAYS, [days_ahead])).fetchall()


async def roles_missing(connection: AsyncConnection[Any], roles: Sequence[str]) -> list[str]:
    """Those of these roles that do not exist, or that we may not speak as."""
    rows = await connection.execute(
        "SELECT role FROM unnest(%s::text[]) AS role LEFT JOIN pg_roles r ON r.rolname = role"
        " WHERE r.oid IS NULL OR NOT pg_has_role(r.oid, 'member') ORDER BY 1",
        [list(roles)],
    )
    return [role for (role,) in await rows.fetchall()]


async def readable_tables(connection: AsyncConnection[Any], role: str) -> list[str]:
    """The tables and views of schema core that a role can read."""
    return [name for (name,) in await (await connection.execute(READABLE, {"role": role})).fetchall()]


async def clock(connection: AsyncConnection[Any]) -> tuple[datetime, datetime | None]:
    """The database's time, and the latest at which any tracker was heard."""
    row = await (
        await connection.execute("SELECT clock_timestamp(), (SELECT max(contact_at) FROM core.device_state)")
    ).fetchone()
    assert row is not None
    return row[0], row[1]


async def quarantine_fill(connection: AsyncConnection[Any], rows_per_device_max: int) -> Fill:
    """How full it is."""
    row = await (
        await connection.execute(
            "SELECT coalesce(sum(n), 0)::bigint, count(*) FILTER (WHERE n >= %s)"
            " FROM (SELECT count(*) AS n FROM core.quarantine GROUP BY unique_id) q",
            [rows_per_device_max],
        )
    ).fetchone()
    assert row is not None
    return Fill(*row)
