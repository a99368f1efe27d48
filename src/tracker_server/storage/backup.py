"""Making a backup: all of schema ``core`` as it was at one moment, while the server goes on.

One REPEATABLE READ transaction reads everything, so a batch is in it whole or not at all. Rows go through
the parent tables as text, so that what TimescaleDB wrote can be read into native partitions, and the
other way. Each table's checksum is the sum of the first 64 bits of its rows' SHA-256: rows in any order
have the same.
"""

from __future__ import annotations

from collections.abc import Sequence as Rows
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection, IsolationLevel, sql

from tracker_server import __version__
from tracker_server.storage.backup_file import (
    FORMAT,
    BackupError,
    LedgerHead,
    Manifest,
    Migrated,
    Sequence,
    Table,
    Tell,
    Writer,
    writing,
)
from tracker_server.storage.migrate import applied
from tracker_server.storage.status import shape

NOT_DATA = "time_tables"  # how this home cuts its tables by time; another cuts them its own way
WRITE_BYTES = 1 << 18

# what COPY writes and reads is the same text whatever the server, the database or the user is set to
FORMS = """
SET LOCAL client_encoding = 'UTF8'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres';
SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex';
SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0
"""
TABLES = """
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum), min(t.time_column)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
LEFT JOIN core.time_tables t ON t.name = c.relname
WHERE c.relnamespace = 'core'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> %s
GROUP BY c.relname ORDER BY c.relname
"""
REFERENCES = """
SELECT c.relname, f.relname FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
WHERE k.contype = 'f' AND c.relnamespace = 'core'::regnamespace AND f.relnamespace = c.relnamespace AND c.oid <> f.oid
"""
CHECKSUM = """
SELECT count(*), coalesce(sum(('x' || encode(substring(sha256(convert_to(r::text, 'UTF8')) FOR 8), 'hex'))::bit(64)::bigint), 0)::text
FROM (SELECT {columns} FROM {table}) r
"""
SEQUENCES = """
SELECT c.relname, s.seqincrement FROM pg_class c JOIN pg_sequence s ON s.seqrelid = c.oid
WHERE c.relnamespace = 'core'::regnamespace ORDER BY c.relname
"""
HEADS = """
SELECT DISTINCT ON (l.account_id) a.name, l.number, l.hash, l.balance_minor
FROM core.ledger l JOIN core.accounts a ON a.id = l.account_id ORDER BY l.account_id, l.number DESC
"""


class Shape(Struct, frozen=True):
    """A table as it stands in the database. ``time_column``: of one that is cut by time."""

    name: str
    columns: tuple[str, ...]
    time_column: str | None

    @property
    def select(self) -> sql.Composed:
        """All its rows, whatever home it has."""
        return sql.SQL("SELECT {} FROM {}").format(self.listed, self.identifier)

    @property
    def listed(self) -> sql.Composed:
        """Its columns."""
        return sql.SQL(", ").join(map(sql.Identifier, self.columns))

    @property
    def identifier(self) -> sql.Identifier:
        """Its name in SQL."""
        return sql.Identifier("core", self.name)


async def tables(connection: AsyncConnection[Any]) -> list[Shape]:
    """The tables of core that hold data, each behind those that it refers to."""
    rows = await (await connection.execute(TABLES, [NOT_DATA])).fetchall()
    found = {name: Shape(name, tuple(columns), time_column) for name, columns, time_column in rows}
    sorter: TopologicalSorter[str] = TopologicalSorter({name: set[str]() for name in found})
    for name, other in await (await connection.execute(REFERENCES)).fetchall():
        if name in found and other in found:
            sorter.add(name, other)
    try:
        return [found[name] for name in sorter.static_order()]
    except CycleError as error:
        raise AssertionError(f"tables refer to each other in a circle: {error.args[1]}") from None


async def checksum(connection: AsyncConnection[Any], table: Shape) -> tuple[int, str]:
    """How many rows there are and their checksum. Only within a transaction in which ``FORMS`` was executed."""
    statement = sql.SQL(CHECKSUM).format(columns=table.listed, table=table.identifier)
    row = await (await connection.execute(statement)).fetchone()
    assert row is not None
    return row[0], row[1]


async def ledger_heads(connection: AsyncConnection[Any]) -> tuple[LedgerHead, ...]:
    """Where each account's book ends; none where the database is older than books."""
    there = await (await connection.execute("SELECT to_regclass('core.ledger') IS NOT NULL")).fetchone()
    if there is None or not there[0]:
        return ()
    rows = await (await connection.execute(HEADS)).fetchall()
    return tuple(LedgerHead(*row) for row in rows)


async def create(connection: AsyncConnection[Any], path: Path, tell: Tell) -> Manifest:
    """Write a new file. The connection is the owner's, in autocommit mode. Raises BackupError and psycopg errors."""
    done = await applied(connection)
    if not done:
        raise BackupError("the database is empty: there is nothing to save; `tracker-server serve` makes it")
    server = await shape(connection)
    await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    await connection.set_read_only(True)
    try:
        with writing(path) as writer:
            async with connection.transaction():
                await connection.execute(FORMS)
                now = await (await connection.execute("SELECT now()")).fetchone()
                assert now is not None
                created_at: datetime = now[0]
                found = await tables(connection)
                sums = [await checksum(connection, table) for table in found]
                saved = await _save(connection, writer, found, sums, tell)
                heads = await ledger_heads(connection)
                sequences = await _sequences(connection)
            manifest = Manifest(
                format=FORMAT,
                program=__version__,
                created_at=created_at,
                postgresql=server.version,
                timescaledb=server.timescaledb,
                migrations=tuple(Migrated(n, name, digest) for n, (name, digest) in sorted(done.items())),
                tables=saved,
                sequences=sequences,
                ledger_heads=heads,
            )
            writer.close(manifest)
    finally:
        if not connection.closed:
            await connection.set_isolation_level(None)
            await connection.set_read_only(None)
    return manifest


async def _save(
    connection: AsyncConnection[Any],
    writer: Writer,
    found: Rows[Shape],
    sums: Rows[tuple[int, str]],
    tell: Tell,
) -> tuple[Table, ...]:
    total = sum(rows for rows, _ in sums)
    before = 0
    saved: list[Table] = []
    for table, (rows, digest) in zip(found, sums, strict=True):
        name = f"data/core.{table.name}.copy"
        gathered = bytearray()
        written = 0
        statement = sql.SQL("COPY ({}) TO STDOUT").format(table.select)
        with writer.member(name) as member:
            async with connection.cursor() as cursor, cursor.copy(statement) as copy:
                async for row in copy:
                    gathered += row
                    written += 1
                    if len(gathered) >= WRITE_BYTES:
                        member.write(gathered)
                        gathered.clear()
                        tell(table.name, before + written, total)
            member.write(gathered)
        assert written == rows, f"{table.name}: one snapshot, but {rows} rows and then {written}"
        before += written
        tell(table.name, before, total)
        saved.append(
            Table(
                name=table.name,
                columns=table.columns,
                rows=rows,
                checksum=digest,
                days=await _days(connection, table),
                member=name,
                size_bytes=member.size_bytes,
                sha256=member.sha256,
                raw=writer.cut(),
            )
        )
    return tuple(saved)


async def _days(connection: AsyncConnection[Any], table: Shape) -> tuple[Any, ...]:
    if table.time_column is None:
        return ()
    statement = sql.SQL("SELECT DISTINCT ({} AT TIME ZONE 'UTC')::date FROM {} ORDER BY 1").format(
        sql.Identifier(table.time_column), table.identifier
    )
    return tuple(day for (day,) in await (await connection.execute(statement)).fetchall())


async def _sequences(connection: AsyncConnection[Any]) -> tuple[Sequence, ...]:
    """Sequences stand outside of snapshots: read after the rows, so never behind them."""
    found: list[Sequence] = []
    for name, step in await (await connection.execute(SEQUENCES)).fetchall():
        statement = sql.SQL("SELECT last_value + CASE WHEN is_called THEN {} ELSE 0 END FROM {}").format(
            step, sql.Identifier("core", name)
        )
        row = await (await connection.execute(statement)).fetchone()
        assert row is not None
        found.append(Sequence(name, row[0]))
    return tuple(found)
