"""A database worth saving, and what must be equal after a restore."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection

from tests.storage.rows import query
from tracker_server.billing.commands import TopUp
from tracker_server.billing.state import Settings as BillingSettings
from tracker_server.config import Settings, Storage
from tracker_server.storage.backup import create
from tracker_server.storage.backup_file import Backup, check
from tracker_server.storage.backup_restore import restore
from tracker_server.storage.billing_store import BillingStore
from tracker_server.storage.database import Database, Role

TRACKERS = 50
FIXES = 20_000
BEGIN = datetime(2027, 1, 1, 7, tzinfo=UTC)
NASTY = "tab\t newline\n return\r backslash\\ \\N \\. 'quote' \" é 車 \u2028"

FILL = """
INSERT INTO core.devices (unique_id, account_id, name, priority)
SELECT 'T' || lpad(g::text, 4, '0'), %(account)s, CASE g WHEN 1 THEN %(nasty)s ELSE 'tracker ' || g END, g FROM generate_series(1, %(trackers)s) g;
SELECT core.ensure_days(array_agg(d::date)) FROM generate_series(now() - interval '60 days', now(), '1 day') d;
INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol, speed_mps, altitude_m, attributes)
SELECT d.id, now() - g * (interval '55 days' / %(fixes)s), now(), (g * 7919::bigint) << 31, 52 + sin(g), 13.1 + g * 1e-6, g %% 5 > 0, 'gt06',
       (g %% 300) / 7.0, CASE WHEN g %% 3 = 0 THEN g / 3.0 END, jsonb_build_object('n', g, 'said', %(nasty)s::text, 'x', g / 3.0)
FROM generate_series(1, %(fixes)s) g JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM core.devices) d ON d.n = 1 + g %% %(trackers)s;
INSERT INTO core.telemetry (device_id, sent_at, received_at, digest, kind, protocol, attributes)
SELECT 1 + g %% 50, now() - g * interval '39 minutes', now(), g, 'report', 'gt06', '{"battery": 87}' FROM generate_series(1, 2000) g;
INSERT INTO core.events (device_id, type, occurred_at, attributes, superseded)
SELECT 1 + g %% 50, 'enter', now() - g * interval '52 minutes', jsonb_build_object('fence', g), g %% 7 = 0 FROM generate_series(1, 1500) g;
INSERT INTO core.quarantine (received_at, unique_id, protocol, transport, remote, reason, detail, reports, frame, digest)
SELECT now() - g * interval '1 minute', 'U' || g %% 9, 'h02', 'tcp', '127.0.0.1:1', 'unknown_device', %(nasty)s, 1,
       decode(lpad(to_hex(g), 8, '0') || '00ff5c0a', 'hex'), g FROM generate_series(1, 300) g;
INSERT INTO core.blocks (device_id, reason, since, note)
SELECT id, 'operator', now() - interval '1 day', %(nasty)s FROM core.devices WHERE priority %% 5 = 0;
INSERT INTO core.outbox (key, channel, recipient, account_id, device_id, payload, created_at, due_at, next_at)
SELECT 'k' || g, 'email', 'a@example.com', %(account)s, 1 + g %% 50, '{}', now(), now(), now() FROM generate_series(1, 40) g;
INSERT INTO core.pictures (device_id, name, content)
SELECT id, id || '.png', decode('89504e470d0a1a0a00ff5c0a', 'hex') FROM core.devices WHERE priority %% 7 = 0;
UPDATE core.device_state SET contact_at = now(), latest_at = now(), latest_digest = device_id;
"""


def database_of(dsn: str) -> Database:
    return Database(Settings(storage=Storage(dsn=dsn)))


async def fill(dsn: str, fixes: int = FIXES) -> None:
    """50 trackers of an account that pays by the day, ``fixes`` fixes of two months, and some of everything else."""
    with psycopg.connect(dsn, client_encoding="utf8") as connection:
        row = connection.execute(
            "WITH t AS (INSERT INTO core.tariffs (name, currency, mode) VALUES ('Std', 'RUB', 'balance') RETURNING id),"
            " p AS (INSERT INTO core.tariff_prices (tariff_id, since, monthly_minor) SELECT id, '-infinity', 31000 FROM t)"
            " INSERT INTO core.accounts (name, zone, currency, tariff_id, created_at)"
            " SELECT 'A', 'Europe/Moscow', 'RUB', id, %s FROM t RETURNING id",
            [BEGIN - timedelta(days=1)],
        ).fetchone()
        assert row
        account = row[0]
        values = {"account": account, "nasty": NASTY, "trackers": TRACKERS, "fixes": fixes}
        with psycopg.ClientCursor(connection) as cursor:
            cursor.execute(FILL.encode(), values)
    store = BillingStore(BillingSettings())
    async with await database_of(dsn).connect(Role.CORE) as core:
        await store.act(core, account, TopUp(key="p1", amount_minor=2_000_000), BEGIN)
        await store.settle(core, account, BEGIN + timedelta(days=45))
    assert query(dsn, "SELECT count(*) AS n FROM core.ledger")[0]["n"] > 300


async def save(dsn: str, path: Path) -> Backup:
    async with await database_of(dsn).connect(Role.OWNER) as connection:
        await create(connection, path, nothing)
    return check(path)


async def put_back(dsn: str, backup: Backup, *, replace: bool = False) -> None:
    async with await database_of(dsn).connect(Role.OWNER) as connection:
        await restore(connection, backup, replace=replace, begins_with=["default"], tell=nothing)


def nothing(*_: object) -> None:
    """Tells nobody how far it has come."""


def content(dsn: str) -> dict[str, str]:
    """Of each table of core a hash over all its rows in their order; not the code's own way of comparing."""
    with psycopg.connect(dsn, client_encoding="utf8") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'core'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition AND relname <> 'time_tables' ORDER BY 1"
        ).fetchall()
        found: dict[str, str] = {}
        for (name,) in names:
            statement = f"SELECT count(*) || ' ' || md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) FROM core.{name} t"
            row = connection.execute(statement.encode()).fetchone()
            assert row
            found[name] = row[0]
        return found


def rules(dsn: str) -> list[dict[str, Any]]:
    """Triggers and constraints of core, and whether they are in force."""
    return query(
        dsn,
        "SELECT * FROM (SELECT c.relname::text, t.tgname::text AS name, t.tgenabled::text AS state FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " WHERE c.relnamespace = 'core'::regnamespace AND NOT c.relispartition AND NOT t.tgisinternal UNION ALL"
        " SELECT c.relname::text, k.conname::text, k.convalidated::text FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
        " WHERE c.relnamespace = 'core'::regnamespace AND NOT c.relispartition AND k.contype <> 'n') x ORDER BY 1, 2, 3",
    )


async def verified(connection: AsyncConnection[Any]) -> list[str]:
    """What ``billing verify`` finds, of all accounts."""
    store = BillingStore(BillingSettings())
    rows = await (await connection.execute("SELECT id FROM core.accounts")).fetchall()
    return [found for (account,) in rows for found in await store.verify(connection, account)]
