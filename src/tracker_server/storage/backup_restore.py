"""Putting a backup back: one transaction, so that a database has all of it or is as it was before.

The rules that look at single changes (a journal is append-only, a new tracker gets its state, a changed
block is told) are off while rows are put back, for what they would do is in the rows; foreign keys and
checks hold at each row. Before it commits, each table's rows are counted and its checksum is compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import AsyncConnection, sql

from tracker_server.storage.backup import FORMS, Shape, checksum, ledger_heads, tables
from tracker_server.storage.backup_file import Backup, BackupError, DamagedError, Table, Tell
from tracker_server.storage.migrate import LOCK, applied, known_migrations, migrate

LOCK_WAIT = "20s"  # somebody else's transaction may take so long to end
GONE_S_MAX = 3.0  # a connection that was closed a moment ago may still be listed
SOMEBODYS = {"account_id", "device_id"}  # a table with such a column holds what belongs to somebody
LEFT_BY_A_START = "billing"  # apart from this: the clock opens the account that everything begins with

USERS = """
SELECT application_name, pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND starts_with(application_name, 'tracker-server')
ORDER BY backend_start
"""
BEGUN = """
SELECT (SELECT count(*) FROM core.accounts WHERE name <> ALL (%s)) + (SELECT count(*) FROM core.tariffs WHERE name <> 'Free')
"""
TRIGGERS = """
SELECT c.relname, t.tgname, t.tgenabled::text, pg_get_triggerdef(t.oid), coalesce(NOT g.native, false)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid LEFT JOIN core.time_tables g ON g.name = c.relname
WHERE c.relnamespace = 'core'::regnamespace AND NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled <> 'D'
  AND NOT c.relispartition AND c.relname = ANY (%s) AND t.tgname <> 'ts_insert_blocker' -- TimescaleDB's own
ORDER BY c.relname, t.tgname
"""
ENABLED = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


class Trigger(Struct, frozen=True):
    """A rule that looks at single changes. ``enabled`` as in pg_trigger; ``hypertable``: whether its table is one."""

    table: str
    name: str
    enabled: str
    definition: str
    hypertable: bool

    @property
    def off(self) -> sql.Composed:
        """TimescaleDB knows no DISABLE TRIGGER for hypertables; there it goes, and comes back."""
        how = "DROP TRIGGER {1} ON {0}" if self.hypertable else "ALTER TABLE {0} DISABLE TRIGGER {1}"
        return self._written(how)

    @property
    def on(self) -> sql.Composed:
        """As it was before ``off``."""
        if self.hypertable:
            return sql.Composed([sql.SQL(self.definition)])  # pyright: ignore[reportArgumentType]
        return self._written(f"ALTER TABLE {{0}} {ENABLED[self.enabled]} TRIGGER {{1}}")

    def _written(self, how: str) -> sql.Composed:
        text = sql.SQL(how)  # pyright: ignore[reportArgumentType]
        return text.format(sql.Identifier("core", self.table), sql.Identifier(self.name))


def check_fits(backup: Backup) -> None:
    """Raises BackupError where this program does not know the shape of what was saved."""
    known = {migration.number: migration for migration in known_migrations()}
    for saved in backup.manifest.migrations:
        if saved.number not in known:
            raise BackupError(
                f"{backup.path}: was made by tracker-server {backup.manifest.program}, whose database is at migration "
                f"{saved.number}; this program knows {max(known)}: restore it with that version"
            )
        if known[saved.number].checksum != saved.checksum:
            raise BackupError(
                f"{backup.path}: its migration {saved.number} ({saved.name}) is not the one that this program knows; "
                f"restore it with tracker-server {backup.manifest.program}"
            )


async def restore(
    connection: AsyncConnection[Any], backup: Backup, *, replace: bool, begins_with: list[str], tell: Tell
) -> None:
    """Put it into the database of the owner's connection, whole or not at all. ``begins_with``: accounts that an
    empty database has. Raises BackupError where the database is in use or, without ``replace``, not empty.
    """
    check_fits(backup)
    async with _migrations_locked(connection):
        await _check_alone(connection)
        if not replace:
            await _check_empty(connection, begins_with)
        try:
            async with connection.transaction():
                await connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_WAIT))
                await load(connection, backup, tell)
        except psycopg.errors.LockNotAvailable:
            raise BackupError(
                "the database is in use: somebody else reads or writes its tables; end that, then restore"
            ) from None
        for table in backup.manifest.tables:
            await connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier("core", table.name)))


@asynccontextmanager
async def _migrations_locked(connection: AsyncConnection[Any]) -> AsyncGenerator[None]:
    """A server that starts meanwhile waits here, before its first look at the database."""
    await connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
    try:
        yield
    finally:
        if not connection.closed:
            await connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


async def _check_alone(connection: AsyncConnection[Any]) -> None:
    until = asyncio.get_running_loop().time() + GONE_S_MAX
    while users := await (await connection.execute(USERS)).fetchall():
        if asyncio.get_running_loop().time() > until:
            who = ", ".join(f"{name} (process {pid} of the database)" for name, pid in users)
            raise BackupError(
                f"the database is in use by {who}; stop `tracker-server serve` and its commands, then restore"
            )
        await asyncio.sleep(0.1)


async def _check_empty(connection: AsyncConnection[Any], begins_with: list[str]) -> None:
    cure = "--replace throws away what it holds, once the backup has been loaded whole"
    for table in await tables(connection):
        if table.name == LEFT_BY_A_START or not SOMEBODYS.intersection(table.columns):
            continue
        statement = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table.identifier)
        row = await (await connection.execute(statement)).fetchone()
        if row and row[0]:
            raise BackupError(f"the database is not empty: core.{table.name} has rows; {cure}")
    row = await (await connection.execute(BEGUN, [begins_with])).fetchone()
    if row and row[0]:
        raise BackupError(f"the database is not empty: it has accounts or tariffs; {cure}")


async def load(connection: AsyncConnection[Any], backup: Backup, tell: Tell) -> None:
    """Replace what core holds by the backup, in today's shape. Within a transaction of the caller's.

    Raises DamagedError where a member is not what was saved or the database refuses it.
    """
    await connection.execute(FORMS)
    known = known_migrations()
    saved = {migration.number for migration in backup.manifest.migrations}
    same_shape = saved == set(await applied(connection))
    if not same_shape:
        await _reshape(connection, len(saved))
    shapes = _matched(backup, await tables(connection))
    names = [table.name for table in backup.manifest.tables]
    triggers = [Trigger(*row) for row in await (await connection.execute(TRIGGERS, [names])).fetchall()]
    every = sql.SQL(", ").join(sql.Identifier("core", name) for name in names)
    for trigger in triggers:
        await connection.execute(trigger.off)
    await connection.execute(sql.SQL("TRUNCATE {}").format(every))
    await _load_rows(connection, backup, shapes, tell)
    for sequence in backup.manifest.sequences:
        await connection.execute(
            sql.SQL("ALTER SEQUENCE {} RESTART WITH {}").format(
                sql.Identifier("core", sequence.name), sql.Literal(sequence.following)
            )
        )
    for trigger in triggers:
        await connection.execute(trigger.on)
    await _compare(connection, backup, shapes)
    if len(saved) < len(known):
        await migrate(connection, timescaledb=False)


async def _reshape(connection: AsyncConnection[Any], last: int) -> None:
    """The empty tables of an older program, or of this one where there are none."""
    await connection.execute("DROP SCHEMA IF EXISTS core, display CASCADE")
    await connection.execute("DROP TABLE IF EXISTS public.tracker_migrations")
    await migrate(connection, timescaledb=False, migrations=known_migrations()[:last])


def _matched(backup: Backup, found: list[Shape]) -> dict[str, Shape]:
    """The database's tables by name. Raises BackupError where the backup has others."""
    shapes = {table.name: table for table in found}
    saved = {table.name: set(table.columns) for table in backup.manifest.tables}
    there = {table.name: set(table.columns) for table in found}
    if saved != there:
        differ = sorted(name for name in saved.keys() | there.keys() if saved.get(name) != there.get(name))
        raise BackupError(
            f"{backup.path}: tables differ from the database's though its migrations are the same: "
            f"{', '.join(differ)}; were they changed by hand?"
        )
    return shapes


async def _load_rows(
    connection: AsyncConnection[Any], backup: Backup, shapes: dict[str, Shape], tell: Tell
) -> None:
    days = sorted({day for table in backup.manifest.tables for day in table.days})
    await connection.execute("SELECT core.ensure_days(%s::date[])", [days])
    before = 0
    for table in backup.manifest.tables:
        await _load_table(connection, backup, table, shapes[table.name], (before, tell))
        before += table.rows


async def _load_table(
    connection: AsyncConnection[Any], backup: Backup, table: Table, shape: Shape, progress: tuple[int, Tell]
) -> None:
    done, tell = progress
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(shape.identifier, columns)
    try:
        async with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for block in backup.blocks(table):
                await copy.write(block)
                done += block.count(b"\n")
                tell(table.name, done, backup.manifest.rows)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        said = error.diag.message_primary or str(error)
        raise DamagedError(backup.path, table.member, f"the database refuses it: {said}") from None


async def _compare(connection: AsyncConnection[Any], backup: Backup, shapes: dict[str, Shape]) -> None:
    """What arrived against what was saved."""
    for table in backup.manifest.tables:
        shape = Shape(table.name, table.columns, shapes[table.name].time_column)
        rows, digest = await checksum(connection, shape)
        if (rows, digest) != (table.rows, table.checksum):
            raise DamagedError(
                backup.path,
                table.member,
                f"{rows} rows arrived, of {table.rows}, or they are others than those saved",
            )
    if await ledger_heads(connection) != backup.manifest.ledger_heads:
        raise DamagedError(
            backup.path, "data/core.journal.copy", "accounts' books end elsewhere than when it was saved"
        )
