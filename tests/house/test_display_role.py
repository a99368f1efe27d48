"""The display role reads gated views and nothing else: every other relation and function, from the catalog."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction

from tracker_server.config import Settings, Storage
from tracker_server.storage.database import Database, Role

# All that is ours, whatever its kind: tables, partitions, TimescaleDB's chunks, views, sequences.
OURS = """
SELECT n.nspname, c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
ORDER BY 1, 2
"""
FUNCTIONS = """
SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'core'::regnamespace
  AND has_function_privilege('tracker_display', p.oid, 'EXECUTE')
"""


@pytest.fixture
def database(home_dsn: str) -> Database:
    """With rows in partitions and chunks, so that those are there to be tried."""
    with psycopg.connect(home_dsn) as owner:
        owner.execute(
            "INSERT INTO core.devices (unique_id, account_id, name) SELECT '1', id, '1' FROM core.accounts"
        )
        owner.execute("SELECT core.ensure_days('{2020-01-02,2026-01-02}')")
        for day in ("2020-01-02", "2026-01-02"):
            owner.execute(
                "INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol)"
                " SELECT id, %s::timestamptz, now(), 7, 52.5, 13.25, true, 'gt06' FROM core.devices",
                [day],
            )
            owner.execute(
                "INSERT INTO core.telemetry (device_id, sent_at, received_at, digest, kind, protocol)"
                " SELECT id, %s::timestamptz, now(), 7, 'report', 'gt06' FROM core.devices",
                [day],
            )
            owner.execute(
                "INSERT INTO core.events (device_id, type, occurred_at) SELECT id, 'x', %s::timestamptz FROM core.devices",
                [day],
            )
    return Database(Settings(storage=Storage(dsn=home_dsn)))


def relations(dsn: str) -> list[tuple[str, str, str]]:
    with psycopg.connect(dsn) as owner:
        return [(schema, name, kind) for schema, name, kind in owner.execute(OURS).fetchall()]


async def test_it_reads_nothing_but_the_views_of_display(database: Database) -> None:
    tried = [(schema, name) for schema, name, _ in relations(database.dsn) if schema != "display"]
    assert {("core", "positions"), ("core", "devices"), ("core", "blocks"), ("core", "hidden")} <= set(tried)
    parts = [
        name for schema, name in tried if name.startswith("positions_2") or schema.startswith("_timescale")
    ]
    assert len(parts) >= 2, "partitions or chunks are among them"
    async with await database.connect(Role.DISPLAY) as display:
        for schema, name in tried:
            with pytest.raises(InsufficientPrivilege):
                await display.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(schema, name)))


async def test_it_reads_every_view_of_display(database: Database) -> None:
    views = [(name, kind) for schema, name, kind in relations(database.dsn) if schema == "display"]
    assert {("positions", "v"), ("devices", "v"), ("events", "v")} <= set(views)
    async with await database.connect(Role.DISPLAY) as display:
        for name, kind in views:
            assert kind == "v", f"display.{name} is no view: it cannot join the gate"
            await display.execute(sql.SQL("SELECT * FROM display.{}").format(sql.Identifier(name)))


def test_it_may_change_nothing(database: Database) -> None:
    """Asked of the catalog, for the connection is read-only besides."""
    with psycopg.connect(database.dsn) as owner:
        for schema, name, kind in relations(database.dsn):
            asked = (
                "SELECT has_{}_privilege('tracker_display', %s::regclass, 'INSERT, UPDATE, DELETE, TRUNCATE')"
            )
            if kind == "S":
                asked = asked.replace("INSERT, UPDATE, DELETE, TRUNCATE", "USAGE, UPDATE")
            asked = asked.format("sequence" if kind == "S" else "table")
            identifier = sql.Identifier(schema, name).as_string(owner)
            row = owner.execute(asked, [identifier]).fetchone()  # pyright: ignore[reportArgumentType]
            assert row == (False,), f"tracker_display may change {schema}.{name}"


def test_it_may_call_no_function_of_core(database: Database) -> None:
    with psycopg.connect(database.dsn) as owner:
        assert owner.execute(FUNCTIONS).fetchall() == []


async def test_its_connection_is_read_only(database: Database) -> None:
    async with await database.connect(Role.DISPLAY) as display:
        with pytest.raises(ReadOnlySqlTransaction):
            await display.execute("CREATE TABLE public.mine ()")


def test_nobody_else_is_let_in(database: Database) -> None:
    """PUBLIC has nothing in core and display: another user of the same server sees nothing."""
    with psycopg.connect(database.dsn) as owner:
        for schema in ("core", "display"):
            granted = owner.execute(
                "SELECT count(*) FROM pg_namespace, aclexplode(nspacl) WHERE nspname = %s AND grantee = 0",
                [schema],
            )
            assert granted.fetchone() == (0,)
