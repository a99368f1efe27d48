"""A history is read slice by slice: each fix once, in its order, however they lie in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.storage.rows import query
from tracker_server.storage import positions_api
from tracker_server.storage.positions_api import CHUNK_ROWS, LAST, SLICE_ROWS_MAX, Slice, positions_between

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=366)
HOUR = timedelta(hours=1)
SETUP = """
WITH a AS (INSERT INTO core.accounts (name, zone, currency, tariff_id) SELECT 'A', 'UTC', 'EUR', min(id) FROM core.tariffs RETURNING id)
INSERT INTO core.devices (unique_id, account_id, name) SELECT 'T1', id, 'T1' FROM a RETURNING id
"""
INSERT = """
INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol)
SELECT %s, at, at, digest, 1, 1, true, 'osmand' FROM unnest(%s::timestamptz[], %s::bigint[]) f (at, digest)
"""


@pytest.mark.parametrize(("rows", "hours"), [(0, 8), (100, 8), (CHUNK_ROWS, 1), (4 * CHUNK_ROWS - 1, 0.25)])
def test_the_next_slice_is_as_long_as_holds_some_rows(rows: int, hours: float) -> None:
    following = Slice(BEGIN, BEGIN + HOUR, SLICE_ROWS_MAX).following(rows, None, END)
    assert following.since == BEGIN + HOUR
    assert (following.before - following.since) / HOUR == pytest.approx(hours, rel=1e-3)


def test_it_ends_with_the_period() -> None:
    one = Slice(END - 2 * HOUR, END - HOUR, SLICE_ROWS_MAX).following(1, None, END)
    assert (one.since, one.before) == (END - HOUR, END)


def test_where_there_may_be_more_it_goes_on_from_there() -> None:
    one = Slice(BEGIN, BEGIN + 8 * HOUR, SLICE_ROWS_MAX)
    following = one.following(SLICE_ROWS_MAX, BEGIN + HOUR, END)
    assert (following.since, following.limit) == (BEGIN + HOUR, SLICE_ROWS_MAX)
    assert following.before - following.since == HOUR * CHUNK_ROWS / SLICE_ROWS_MAX
    stuck = one.following(SLICE_ROWS_MAX, BEGIN, END)
    assert (stuck.since, stuck.limit) == (BEGIN, 2 * SLICE_ROWS_MAX)
    assert stuck.before > BEGIN


async def test_each_fix_once_in_its_order(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions_api, "CHUNK_ROWS", 5)
    monkeypatch.setattr(positions_api, "SLICE_ROWS_MAX", 10)
    device: int = query(postgres_dsn, SETUP)[0]["id"]
    moments = [BEGIN + n * HOUR for n in range(30)]
    moments += [BEGIN + 40 * HOUR] * 37  # more of one moment than a slice has
    moments += [BEGIN + timedelta(days=9, seconds=n) for n in range(40)]  # a burst after days of nothing
    moments += [BEGIN + timedelta(days=40)] * 2  # the period's last moment
    moments += [BEGIN - HOUR, BEGIN + timedelta(days=40, microseconds=1)]
    days: list[Any] = sorted({moment.date() for moment in moments})
    query(postgres_dsn, "SELECT core.ensure_days(%s)", [days])
    query(postgres_dsn, INSERT, [device, moments, [*range(len(moments))]])
    async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as connection:
        for until, expected in ((BEGIN + timedelta(days=40), len(moments) - 2), (LAST, len(moments) - 1)):
            chunks = [chunk async for chunk in positions_between(connection, device, BEGIN, until)]
            found = [moment for chunk in chunks for moment in chunk.fixed_us.tolist()]
            ids = [one for chunk in chunks for one in chunk.ids]
            assert found == sorted(found)
            assert len(set(ids)) == len(ids) == expected
            assert max(map(len, chunks)) < 40  # the moment that has more than a slice
        assert (await (await connection.execute("SHOW transaction_read_only")).fetchone()) == ("off",)


ODD = """
INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol, attributes, network)
SELECT %s, at, at, n, 1, 1, true, protocol, attributes, network
FROM unnest(%s::text[], %s::jsonb[], %s::jsonb[]) WITH ORDINALITY f (protocol, attributes, network, n),
     (SELECT %s::timestamptz) m (at)
"""


async def test_no_text_is_taken_for_two(postgres_dsn: str) -> None:
    device: int = query(postgres_dsn, SETUP)[0]["id"]
    query(postgres_dsn, "SELECT core.ensure_days(%s)", [[BEGIN.date()]])
    protocols = ["os\nmand", "\\x41", "ж"]
    attributes = ['{"note": "a\\nb"}', "{}", '{"note": "}\\n{"}']
    networks = [None, '{"note": "a\\nb"}', None]
    query(postgres_dsn, ODD, [device, protocols, attributes, networks, BEGIN])
    async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as connection:
        (fixes,) = [chunk async for chunk in positions_between(connection, device, BEGIN, BEGIN)]
    assert fixes.protocols == protocols
    assert fixes.attributes == attributes
    assert fixes.networks == networks
