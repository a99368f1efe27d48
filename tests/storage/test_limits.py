"""What a tariff allows and leaves out, in the database: limits that no two at once can pass, features by the moment of receipt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Barrier

import psycopg

from tests.storage.rows import query
from tests.storage.test_billing_gate import MARCH, begun
from tests.storage.test_billing_store import Operator, operating
from tracker_server.billing.commands import Switch, TopUp
from tracker_server.billing.switches import has_feature
from tracker_server.billing.tariffs import Feature, Mode, Price, Tariff
from tracker_server.storage.limits import limit_told
from tracker_server.storage.tariffs import add_tariff

FENCE = """
INSERT INTO core.fences (account_id, name, kind, shape) VALUES (%s, 'f', 'circle', '{}')
"""
BASIC = Tariff("Basic", Mode.BALANCE, (Price(date.min, 31000),), fences_max=3)


async def on_basic(operator: Operator) -> None:
    """The account was on Basic, which has neither sensors nor trips, from its beginning."""
    basic = await add_tariff(operator.connection, BASIC, "RUB")
    query(operator.dsn, "UPDATE core.accounts SET tariff_id = %s WHERE id = %s", [basic, operator.account])
    pro = Tariff("Pro", Mode.BALANCE, (Price(date.min, 31000),), frozenset(Feature))
    await add_tariff(operator.connection, pro, "RUB")


async def test_of_ten_at_once_no_more_are_added_than_the_tariff_allows(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await on_basic(operator)
        barrier = Barrier(10)

        def add(_: int) -> bool:
            with psycopg.connect(operator.dsn) as connection:
                barrier.wait(60)
                try:
                    connection.execute(FENCE, [operator.account])
                except psycopg.errors.CheckViolation as error:
                    return limit_told(error) is None
                return True

        with ThreadPoolExecutor(10) as pool:
            assert sum(pool.map(add, range(10))) == 3


async def test_r63_r64_features_by_the_moment_of_receipt(postgres_dsn: str) -> None:
    """Basic, Pro from March 10 12:00, Basic from 15, Pro from 20: what each view shows is what the engine says."""
    async with operating(postgres_dsn) as operator:
        operator.adds("T1")
        begun(operator, MARCH)
        await on_basic(operator)
        noon = datetime(2025, 3, 10, 9, tzinfo=UTC)  # 12:00 in Moscow
        day = timedelta(days=1)
        received = [
            noon - timedelta(milliseconds=1),
            noon,
            noon + timedelta(minutes=5),
            noon + 5 * day,
            noon + 10 * day,
        ]
        fixed = [
            *received[:2],
            noon - timedelta(hours=1),
            *received[3:],
        ]  # the third from the device's memory
        await operator.does(TopUp(key="p1", amount_minor=100000), MARCH)
        query(operator.dsn, "SELECT core.ensure_days(%s::date[])", [[at.date() for at in fixed]])
        query(
            operator.dsn,
            "INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol, attributes)"
            " SELECT d.id, f, r, 1, 55, 37, true, 'gt06', '{\"fuel\": 7}' FROM core.devices d,"
            " unnest(%s::timestamptz[], %s::timestamptz[]) AS u (f, r)",
            [fixed, received],
        )
        query(
            operator.dsn,
            "INSERT INTO core.trips (device_id, started_at, ended_at, decided_at, start_latitude, start_longitude, start_digest,"
            " end_latitude, end_longitude, end_digest, distance_mm, odometer_start_mm, speed_max_mps, stored_at)"
            " SELECT d.id, r, r, r, 55, 37, 1, 55, 37, 1, 0, 0, 0, r FROM core.devices d, unnest(%s::timestamptz[]) AS r",
            [received],
        )

        async def seen() -> list[bool]:
            state = await operator.store.read(operator.connection, operator.account)
            wanted = [has_feature(state, "sensors", at) for at in received]
            rows = query(
                operator.dsn, "SELECT attributes, received_at FROM display.positions ORDER BY received_at"
            )
            assert [row["attributes"] == {"fuel": 7} for row in rows] == wanted
            assert all(row["attributes"] in ({"fuel": 7}, {}) for row in rows)
            trips = query(operator.dsn, "SELECT stored_at FROM display.trips")
            assert {row["stored_at"] for row in trips} == {
                at for at in received if has_feature(state, "trips", at)
            }
            await operator.verified()
            return wanted

        assert await seen() == [False] * 5, "on Basic nothing has it"
        await operator.does(Switch(tariff="Pro"), noon)
        assert await seen() == [False, True, True, True, True]
        await operator.does(Switch(tariff="Basic"), noon + 5 * day)
        assert await seen() == [False] * 5
        april = datetime(2025, 4, 1, 9, tzinfo=UTC)
        await operator.does(Switch(tariff="Pro", effective=date(2025, 4, 1)), noon + 6 * day)
        await operator.settles(april)
        assert await seen() == [False, True, True, False, False]
        query(operator.dsn, "DELETE FROM core.features WHERE feature = 'trips'")
        assert any(
            "'trips'" in line for line in await operator.store.verify(operator.connection, operator.account)
        )


async def test_an_account_whose_tariffs_had_it_all_has_no_row(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        operator.adds("T1")
        await operator.settles(MARCH)
        assert query(operator.dsn, "SELECT * FROM core.features") == []
