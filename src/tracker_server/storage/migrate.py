"""Bringing a database to the shape that this program knows: numbered files, each applied once, whole.

A file's checksum is kept beside its number, so that a file changed after it was applied is found out
instead of leaving two databases of different shapes under one number.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

import structlog
from msgspec import Struct
from psycopg import AsyncConnection, sql
from psycopg.errors import Error

from tracker_server.storage.database import DatabaseError, check_version

log = structlog.get_logger(__name__)

LOCK = 7_201_450_083  # any number; the same in every version, so that two programs never migrate at once


class Migration(Struct, frozen=True):
    """``0001_core.sql``: number, name, text."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class MigrationError(DatabaseError):
    """The database and this program do not fit. The message says which of them to change."""


def known_migrations() -> list[Migration]:
    """All migrations of this program, in order."""
    found: list[Migration] = []
    for file in files("tracker_server.storage").joinpath("migrations").iterdir():
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, file.read_text()))
    found.sort(key=lambda migration: migration.number)
    assert [m.number for m in found] == list(range(1, len(found) + 1)), "migrations are numbered without gaps"
    return found


async def migrate(
    connection: AsyncConnection[Any],
    *,
    timescaledb: bool,
    migrations: list[Migration] | None = None,
) -> list[Migration]:
    """Apply what is missing, one transaction each; answers what was applied. The connection is the owner's.

    With ``timescaledb``, the extension is created before the first migration where it is to be had.
    """
    migrations = known_migrations() if migrations is None else migrations
    await check_version(connection)
    await connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS public.tracker_migrations (number integer PRIMARY KEY, name text NOT NULL,"
            " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
        missing = missing_of(migrations, await applied(connection))
        if missing and missing[0].number == 1 and timescaledb:
            await _create_timescaledb(connection)
        # in order, and found missing again where the machine dies now: what they are for waits for the disk anyway
        await connection.execute("SET synchronous_commit = off")
        for migration in missing:
            await _apply(connection, migration)
        await connection.execute("RESET synchronous_commit")
        return missing
    finally:
        await connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


async def applied(connection: AsyncConnection[Any]) -> dict[int, tuple[str, str]]:
    """Number to name and checksum of what was applied; empty for a new database."""
    found = await (await connection.execute("SELECT to_regclass('public.tracker_migrations')")).fetchone()
    if found is None or found[0] is None:
        return {}
    rows = await connection.execute(
        "SELECT number, name, checksum FROM public.tracker_migrations ORDER BY number"
    )
    return {number: (name, checksum) for number, name, checksum in await rows.fetchall()}


def missing_of(migrations: list[Migration], done: dict[int, tuple[str, str]]) -> list[Migration]:
    """Those not applied yet, in order. Raises MigrationError for a database that does not fit."""
    known = {migration.number: migration for migration in migrations}
    if done and max(done) > max(known):
        raise MigrationError(
            f"the database is at migration {max(done)} and this program knows {max(known)}: "
            "run the newer tracker-server that migrated it"
        )
    for number, (name, checksum) in done.items():
        if known[number].checksum != checksum:
            raise MigrationError(
                f"migration {number} ({name}) was changed after it was applied to this database: "
                "restore the file, and put the change in a migration of its own"
            )
    return [migration for migration in migrations if migration.number not in done]


async def _apply(connection: AsyncConnection[Any], migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(sql.SQL(migration.text))  # pyright: ignore[reportArgumentType]
            await connection.execute(
                "INSERT INTO public.tracker_migrations (number, name, checksum) VALUES (%s, %s, %s)",
                [migration.number, migration.name, migration.checksum],
            )
    except Error as error:
        raise MigrationError(f"migration {migration.number} ({migration.name}) failed: {error}") from error
    log.info("migration applied", number=migration.number, name=migration.name)


async def _create_timescaledb(connection: AsyncConnection[Any]) -> None:
    """Use it where it is installed and loaded; where it is not, native partitions do."""
    found = await connection.execute("SELECT FROM pg_available_extensions WHERE name = 'timescaledb'")
    if await found.fetchone() is None:
        return
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except Error as error:
        log.warning(
            "timescaledb is installed but cannot be used: native partitions instead", error=str(error)
        )


async def bootstrap(connection: AsyncConnection[Any], *, currency: str, zone: str, account: str) -> None:
    """The tariff ``Free`` and the account that everything may begin with."""
    async with connection.transaction():
        await connection.execute(
            "WITH free AS (INSERT INTO core.tariffs (name, currency, mode) VALUES ('Free', %s, 'free')"
            " ON CONFLICT DO NOTHING RETURNING id)"
            " INSERT INTO core.tariff_prices (tariff_id, since, monthly_minor) SELECT id, '-infinity', 0 FROM free",
            [currency],
        )
        for name in dict.fromkeys(["default", account]):
            await connection.execute(
                "INSERT INTO core.accounts (name, zone, currency, tariff_id)"
                " SELECT %s, %s, %s, id FROM core.tariffs WHERE name = 'Free' ON CONFLICT DO NOTHING",
                [name, zone, currency],
            )
