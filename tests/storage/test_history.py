"""How far back a customer sees: the tariff's days, of the account's own zone, through every view; nothing is deleted."""

from __future__ import annotations

import psycopg

from tests.storage.rows import query
from tracker_server.model.people import Scope
from tracker_server.storage.management import WAITING_MAX, managed

SETUP = """
WITH t AS (INSERT INTO core.tariffs (name, currency, mode, history_days) VALUES ('Week', 'EUR', 'free', 7) RETURNING id),
p AS (INSERT INTO core.tariff_prices (tariff_id, since, monthly_minor) SELECT id, '-infinity', 0 FROM t),
a AS (INSERT INTO core.accounts (name, zone, currency, tariff_id) SELECT 'A', 'Europe/Madrid', 'EUR', id FROM t RETURNING id)
INSERT INTO core.devices (unique_id, account_id, name) SELECT 'T1', id, 'T1' FROM a
"""
# one just inside the seven days before today's midnight in Madrid, one just outside, one of now
MOMENTS = """
SELECT n, (date_trunc('day', now() AT TIME ZONE 'Europe/Madrid') - interval '7 days') AT TIME ZONE 'Europe/Madrid' + n AS at
FROM (VALUES (interval '-1 second'), (interval '0'), (interval '7 days')) v (n)
"""
FIXES = f"""
WITH m AS ({MOMENTS}), made AS (SELECT core.ensure_days(array_agg(at::date)) FROM m)
INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol)
SELECT d.id, at, at, 1, 1, 1, true, 'osmand' FROM m, made, core.devices d WHERE d.unique_id = 'T1'
"""


def count(dsn: str, view: str) -> int:
    return query(dsn, f"SELECT count(*) AS n FROM display.{view} WHERE unique_id = 'T1'")[0]["n"]


async def more_wait(dsn: str) -> bool:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        (row,) = await managed(connection, Scope(everything=True))
    return row.waiting_more


def test_r66_a_downgrade_hides_what_is_older_and_an_upgrade_shows_it_again(postgres_dsn: str) -> None:
    query(postgres_dsn, SETUP)
    query(postgres_dsn, "SELECT core.ensure_days(array_agg(at::date)) FROM (" + MOMENTS + ") m")
    query(postgres_dsn, FIXES)
    of = f"FROM ({MOMENTS}) m, core.devices d WHERE d.unique_id = 'T1'"
    query(
        postgres_dsn, f"INSERT INTO core.events (device_id, type, occurred_at) SELECT d.id, 'moving', at {of}"
    )
    query(
        postgres_dsn,
        "INSERT INTO core.telemetry (device_id, sent_at, received_at, digest, kind, protocol)"
        f" SELECT d.id, at, at, 1, 'report', 'osmand' {of}",
    )
    views = ("positions", "events", "telemetry")
    assert [count(postgres_dsn, view) for view in views] == [2, 2, 2]
    query(postgres_dsn, "UPDATE core.tariffs SET history_days = 8 WHERE name = 'Week'")
    assert [count(postgres_dsn, view) for view in views] == [3, 3, 3]
    query(postgres_dsn, "UPDATE core.tariffs SET history_days = NULL WHERE name = 'Week'")
    assert [count(postgres_dsn, view) for view in views] == [3, 3, 3]


async def test_a_long_queue_is_counted_up_to_a_bound(postgres_dsn: str) -> None:
    query(postgres_dsn, SETUP)
    query(postgres_dsn, "SELECT core.ensure_days(ARRAY[now()::date])")
    query(
        postgres_dsn,
        "INSERT INTO core.blocks (device_id, reason, since) SELECT id, 'hold', now() - interval '1 hour' FROM core.devices"
        " WHERE unique_id = 'T1'",
    )
    insert = (
        "INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol)"
        " SELECT d.id, now(), now(), n, 1, 1, true, 'osmand' FROM core.devices d, generate_series(%s::integer, %s::integer) n"
        " WHERE d.unique_id = 'T1'"
    )
    waiting = "SELECT waiting FROM display.management WHERE unique_id = 'T1'"
    query(postgres_dsn, insert, [1, 4_320])
    assert query(postgres_dsn, waiting)[0]["waiting"] == 4_320
    assert not await more_wait(postgres_dsn)
    query(postgres_dsn, insert, [4_321, 20_100])
    assert query(postgres_dsn, waiting)[0]["waiting"] == WAITING_MAX
    assert await more_wait(postgres_dsn)
