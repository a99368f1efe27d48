"""Migrations, over all that there are: from every earlier version, on both homes, and all the ways to refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import AsyncConnection, sql

from tests.servers.postgres import SharedPostgres
from tracker_server.app import prepare
from tracker_server.config import Settings
from tracker_server.storage.database import Database, DatabaseError, Role, check_version
from tracker_server.storage.migrate import MigrationError, applied, known_migrations, migrate

KNOWN = known_migrations()

# What a database is made of, as the catalog tells it; dates in partitions' names do not belong to it.
SHAPE = """
SELECT 'column', format('%s.%s.%s', n.nspname, c.relname, a.attname),
       format('%s %s %s', format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname IN ('core', 'display') AND a.attnum > 0 AND NOT a.attisdropped AND NOT c.relispartition
UNION ALL
SELECT 'relation', format('%s.%s', n.nspname, c.relname), format('%s %s %s', c.relkind, c.reloptions, c.relacl)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('core', 'display') AND NOT c.relispartition
UNION ALL
SELECT 'view', format('%s.%s', schemaname, viewname), definition FROM pg_views WHERE schemaname IN ('core', 'display')
UNION ALL
SELECT 'index', format('%s.%s', schemaname, indexname), indexdef FROM pg_indexes
WHERE schemaname IN ('core', 'display')
  AND NOT (SELECT relispartition FROM pg_class WHERE oid = format('%I.%I', schemaname, indexname)::regclass)
UNION ALL
SELECT 'constraint', format('%s %s', conrelid::regclass, conname), pg_get_constraintdef(oid)
FROM pg_constraint k WHERE connamespace = 'core'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = k.conrelid AND c.relispartition)
UNION ALL
SELECT 'function', oid::regprocedure::text, format('%s %s', pg_get_functiondef(oid), proacl)
FROM pg_proc WHERE pronamespace IN ('core'::regnamespace, 'display'::regnamespace)
UNION ALL
SELECT 'trigger', format('%s %s', tgrelid::regclass, tgname), pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'core.%'
  AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = tgrelid AND c.relispartition)
ORDER BY 1, 2, 3
"""


async def connect(dsn: str) -> AsyncConnection[Any]:
    return await AsyncConnection.connect(dsn, autocommit=True)


async def shape_of(connection: AsyncConnection[Any]) -> list[tuple[str, str, str]]:
    await connection.execute("SET search_path = pg_catalog")
    return await (await connection.execute(SHAPE)).fetchall()


async def store_one_fix(connection: AsyncConnection[Any]) -> None:
    """With nothing but columns that have been there from the first version on."""
    first = await connection.execute(
        "SELECT FROM information_schema.columns WHERE table_schema = 'core' AND column_name = 'monthly_minor'"
        " AND table_name = 'tariffs'"
    )
    price = ", monthly_minor) VALUES ('T', 'EUR', 0)" if first.rowcount else ") VALUES ('T', 'EUR')"
    await connection.execute(
        f"INSERT INTO core.tariffs (name, currency{price} ON CONFLICT DO NOTHING".encode()
    )
    await connection.execute(
        "INSERT INTO core.accounts (name, zone, currency, tariff_id)"
        " SELECT 'A', 'UTC', 'EUR', id FROM core.tariffs LIMIT 1"
    )
    await connection.execute(
        "INSERT INTO core.devices (unique_id, account_id, name) SELECT '1', id, '1' FROM core.accounts LIMIT 1"
    )
    await connection.execute("SELECT core.ensure_days('{2026-01-02}')")
    await connection.execute(
        "INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol)"
        " SELECT id, '2026-01-02T03:04:05Z', now(), 7, 52.5, 13.25, true, 'gt06' FROM core.devices"
    )


_SHAPES: dict[str, list[tuple[str, str, str]]] = {}


async def shape_of_new(home: SharedPostgres) -> list[tuple[str, str, str]]:
    """Of a database that was made today; looked at once."""
    if home.name not in _SHAPES:
        with home.database(migrated=False) as dsn:
            async with await connect(dsn) as new:
                await migrate(new, timescaledb=home.name == "timescaledb")
                _SHAPES[home.name] = await shape_of(new)
    return _SHAPES[home.name]


@pytest.mark.parametrize("first", range(len(KNOWN)), ids=lambda n: f"from version {n}")
async def test_from_every_earlier_version(postgres_server: SharedPostgres, first: int) -> None:
    await from_version(postgres_server, first)


@pytest.mark.parametrize(
    "first", [*range(0, len(KNOWN) - 1, 5), len(KNOWN) - 1], ids=lambda n: f"from version {n}"
)
async def test_from_earlier_versions_with_timescaledb(timescaledb_server: SharedPostgres, first: int) -> None:
    await from_version(timescaledb_server, first)


async def from_version(home: SharedPostgres, first: int) -> None:
    timescaledb = home.name == "timescaledb"
    with home.database(migrated=False) as old_dsn:
        async with await connect(old_dsn) as old:
            done = await migrate(old, timescaledb=timescaledb, migrations=KNOWN[:first]) if first else []
            assert [m.number for m in done] == list(range(1, first + 1))
            if first:
                await store_one_fix(old)
            rest = await migrate(old, timescaledb=timescaledb)
            assert [m.number for m in rest] == list(range(first + 1, len(KNOWN) + 1))
            if first:
                kept = await old.execute("SELECT latitude, longitude FROM display.positions")
                assert await kept.fetchall() == [(52.5, 13.25)]
            assert await shape_of(old) == await shape_of_new(home)
            assert await migrate(old, timescaledb=timescaledb) == []


async def test_two_at_once(empty_dsn: str) -> None:
    async def one() -> list[int]:
        async with await connect(empty_dsn) as connection:
            return [m.number for m in await migrate(connection, timescaledb=True)]

    answers = await asyncio.gather(one(), one(), one())
    assert sorted(answers, key=len) == [[], [], [m.number for m in KNOWN]]


async def test_two_databases_of_one_cluster_at_once(home: SharedPostgres) -> None:
    """Roles belong to the cluster: the second to make them must not fail."""
    with home.database(migrated=False) as one, home.database(migrated=False) as other:

        async def run(dsn: str) -> int:
            async with await connect(dsn) as connection:
                return len(await migrate(connection, timescaledb=True))

        assert await asyncio.gather(run(one), run(other)) == [len(KNOWN), len(KNOWN)]


async def test_a_changed_file_is_refused(home_dsn: str) -> None:
    changed = [msgspec.structs.replace(KNOWN[0], text=KNOWN[0].text + "\n"), *KNOWN[1:]]
    async with await connect(home_dsn) as connection:
        with pytest.raises(MigrationError, match=r"migration 1 \(core\) was changed after it was applied"):
            await migrate(connection, timescaledb=True, migrations=changed)


async def test_a_newer_database_is_refused(home_dsn: str) -> None:
    async with await connect(home_dsn) as connection:
        await connection.execute(
            "INSERT INTO public.tracker_migrations (number, name, checksum) VALUES (9999, 'tomorrow', '')"
        )
        with pytest.raises(MigrationError, match=r"is at migration 9999 .* run the newer tracker-server"):
            await migrate(connection, timescaledb=True)


async def test_one_that_fails_leaves_nothing_and_can_be_mended(empty_dsn: str) -> None:
    number = len(KNOWN) + 1
    broken = msgspec.structs.replace(
        KNOWN[0], number=number, name="broken", text="CREATE TABLE core.half (); SELECT 1 / 0;"
    )
    mended = msgspec.structs.replace(broken, text="CREATE TABLE core.half ();")
    async with await connect(empty_dsn) as connection:
        with pytest.raises(MigrationError, match=rf"migration {number} \(broken\) failed: division by zero"):
            await migrate(connection, timescaledb=True, migrations=[*KNOWN, broken])
        half = await (await connection.execute("SELECT to_regclass('core.half')")).fetchone()
        assert half == (None,)
        assert sorted(await applied(connection)) == [m.number for m in KNOWN]
        done = await migrate(connection, timescaledb=True, migrations=[*KNOWN, mended])
        assert [m.number for m in done] == [number]


async def test_a_failed_one_lets_others_migrate(empty_dsn: str) -> None:
    """The lock is given back though the connection lives on, in a pool say."""
    broken = msgspec.structs.replace(KNOWN[0], text="SELECT 1 / 0")
    async with await connect(empty_dsn) as first, await connect(empty_dsn) as second:
        with pytest.raises(MigrationError):
            await migrate(first, timescaledb=False, migrations=[broken])
        await second.execute("SET lock_timeout = '5s'")
        assert len(await migrate(second, timescaledb=False)) == len(KNOWN)


async def test_timescaledb_can_be_declined(timescaledb_server: SharedPostgres) -> None:
    with timescaledb_server.database(migrated=False) as dsn:
        async with await connect(dsn) as connection:
            await migrate(connection, timescaledb=False)
            found = await connection.execute("SELECT bool_and(native) FROM core.time_tables")
            assert await found.fetchone() == (True,)


async def test_embedded_from_nothing_and_again(embedded_settings: Settings) -> None:
    database = Database(embedded_settings)
    for _ in range(2):
        await database.open()
        try:
            await prepare(database, embedded_settings)
            async with await database.connect(Role.CORE) as connection:
                found = await connection.execute("SELECT a.name, t.name, currency FROM core.accounts a"
                                                 " JOIN core.tariffs t USING (currency)")  # fmt: skip
                assert await found.fetchall() == [("default", "Free", "EUR")]
        finally:
            await database.close()


@pytest.fixture
def plain_owner_dsn(home: SharedPostgres) -> Generator[str]:
    """An empty database whose owner may not make roles."""
    with psycopg.connect(home.superuser_dsn, autocommit=True) as superuser:
        superuser.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        with home.database(migrated=False) as dsn:
            name = dsn.rpartition("/")[2]
            superuser.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO plain").format(sql.Identifier(name)),
            )
            yield dsn.replace(dsn.partition("//")[2].partition("@")[0], "plain:plain")
        superuser.execute("DROP ROLE plain")


async def test_an_owner_who_may_not_make_roles_is_told(plain_owner_dsn: str) -> None:
    async with await connect(plain_owner_dsn) as connection:
        with pytest.raises(MigrationError, match="permission denied"):
            await migrate(connection, timescaledb=False)


async def test_an_old_postgresql_is_refused(home_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await connect(home_dsn) as connection:
        await check_version(connection)
        monkeypatch.setattr("tracker_server.storage.database.SERVER_VERSION_MIN", 990_000)
        with pytest.raises(DatabaseError, match=r"storage\.dsn: PostgreSQL 1\d is too old; 15 or later"):
            await check_version(connection)
