"""The monthly report (R125, R126): when, to whom, once, what counts, and nothing of a tracker that is blocked."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from tests.storage.rows import query
from tests.storage.test_billing_gate import begun
from tests.storage.test_billing_store import Operator, operating
from tracker_server.billing.commands import TopUp
from tracker_server.config import Settings, Storage
from tracker_server.model.monthly import (
    DEADLINE,
    DUE_ON,
    Happening,
    MonthlyReport,
    business_day,
    days_within,
    incidents_and_requests,
    month_before,
    next_month,
)
from tracker_server.papers.monthly import monthly_data, monthly_pdf
from tracker_server.storage.database import Database, Role
from tracker_server.storage.monthly import order_monthly, read_month

MARCH = date(2025, 3, 1)
BEGIN = datetime(2025, 2, 1, 7, tzinfo=UTC)  # 10:00 in Moscow
HOUR = timedelta(hours=1)


def test_r125_the_fifth_business_day() -> None:
    assert business_day(date(2025, 4, 1), DEADLINE) == date(2025, 4, 7)
    assert business_day(date(2025, 2, 1), DEADLINE) == date(2025, 2, 7)
    assert business_day(date(2025, 4, 15), DUE_ON) == date(2025, 4, 3) < date(2025, 4, 7)
    assert (month_before(date(2025, 1, 9)), next_month(date(2024, 12, 1))) == (
        date(2024, 12, 1),
        date(2025, 1, 1),
    )
    for month in range(1, 13):
        days = [business_day(date(2025, month, 1), number) for number in range(1, 21)]
        assert [day.weekday() < calendar.SATURDAY for day in days] == [True] * 20
        assert days == sorted(set(days))


def test_r126_incidents_and_requests() -> None:
    noon = datetime(2025, 3, 3, 12, tzinfo=UTC)
    seven = [
        Happening(kind, noon + day * 24 * HOUR + ago)
        for day in range(7)
        for kind, ago in (("deviceOffline", 0 * HOUR), ("deviceOnline", HOUR + timedelta(seconds=1)))
    ]
    two = [Happening("maintenance", noon + 200 * HOUR), Happening("maintenance", noon + 300 * HOUR)]
    assert incidents_and_requests([*seven, *two], noon + 600 * HOUR) == (7, 2)
    tunnel = [Happening("deviceOffline", noon), Happening("deviceOnline", noon + HOUR)]
    assert incidents_and_requests(tunnel, noon + 600 * HOUR) == (0, 0)
    assert incidents_and_requests(tunnel[:1], noon + 2 * HOUR) == (1, 0), "still offline as the month ends"
    assert incidents_and_requests([Happening("alarm", noon)], noon) == (1, 0)


def test_days_within_a_month() -> None:
    spans = [
        (date(2025, 2, 20), date(2025, 3, 2)),
        (date(2025, 3, 2), date(2025, 3, 4)),
        (date(2025, 3, 31), date(2025, 4, 9)),
    ]
    assert days_within(spans, MARCH) == 5
    assert days_within([], MARCH) == 0


async def shop(operator: Operator) -> None:
    """Van 1, the test tracker, and Van 2 in an account of Moscow, whose money pays Van 2 through March 20."""
    query(operator.dsn, "UPDATE core.accounts SET email = 'a@example.com' WHERE id = %s", [operator.account])
    operator.adds("Van 1", test=True)
    operator.adds("Van 2")
    begun(operator, BEGIN)
    # connected on February 1, so daily from March 4 on: 17 dates
    await operator.does(TopUp(key="p1", amount_minor=31000 + 17 * 1000), BEGIN)
    await operator.settles(datetime(2025, 3, 31, 8, tzinfo=UTC))


def drives(operator: Operator, unique_id: str, day: int, km: int) -> None:
    at = datetime(2025, 3, day, 9, tzinfo=UTC)
    query(operator.dsn, "SELECT core.ensure_days(ARRAY[%s::date])", [at.date()])
    query(
        operator.dsn,
        "INSERT INTO core.trips (device_id, started_at, ended_at, decided_at, distance_mm, odometer_start_mm, start_latitude,"
        " start_longitude, end_latitude, end_longitude, start_digest, end_digest, speed_max_mps)"
        " SELECT id, %s, %s, %s, %s, 0, 52, 21, 52, 21, 1, 2, 20 FROM core.devices WHERE unique_id = %s",
        [at, at + HOUR, at + HOUR, km * 1_000_000, unique_id],
    )
    for kind, when in (("deviceOffline", at), ("deviceOnline", at + 2 * HOUR), ("maintenance", at)):
        query(
            operator.dsn,
            "INSERT INTO core.events (device_id, type, occurred_at, stored_at) SELECT id, %s, %s, %s FROM core.devices"
            " WHERE unique_id = %s",
            [kind, when, when, unique_id],
        )


async def read(operator: Operator) -> MonthlyReport:
    database = Database(Settings(storage=Storage(dsn=operator.dsn)))
    async with await database.connect(Role.DISPLAY) as display:
        now = datetime(2025, 4, 3, 6, tzinfo=UTC)
        return await read_month(operator.connection, display, operator.account, MARCH, now)


async def test_r125_blocked_trackers_appear_as_blocked_days_without_data(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await shop(operator)
        assert [block[:2] for block in operator.blocks()] == [("Van 2", "billing")]
        drives(operator, "Van 1", 5, 300)
        drives(operator, "Van 2", 6, 120)
        before = await read(operator)
        one, two = before.trackers
        assert (one.name, one.distance_mm, one.trips, one.incidents, one.requests, one.blocked_days) == (
            "Van 1", 300_000_000, 1, 1, 1, 0,
        )  # fmt: skip
        assert (two.name, two.distance_mm, two.trips, two.incidents, two.requests, two.blocked_days) == (
            "Van 2", None, 0, 0, 0, 11,
        )  # fmt: skip
        drives(operator, "Van 2", 7, 777)
        after = await read(operator)
        assert monthly_pdf(after) == monthly_pdf(before), "whatever it does, the paper is the same bytes"
        for language, words in (
            ("en", "blocked 11 days"),
            ("es", "bloqueado 11 días"),
            ("ru", "дней блокировки: 11"),
        ):
            lines = monthly_data(msgspec.structs.replace(after, language=language))["lines"]
            assert lines[1] == ["Van 2", "", "", "", "", words]
            assert lines[2][2:5] == ["1", "1", "1"], "no sum counts it"
        # Paid, it is in it whole, and says for how many days it was blocked.
        await operator.does(TopUp(key="p2", amount_minor=50000), datetime(2025, 3, 31, 9, tzinfo=UTC))
        two = (await read(operator)).trackers[1]
        assert (two.distance_mm, two.trips, two.blocked_days) == (897_000_000, 2, 11)


async def test_r125_ordered_on_the_third_business_day_and_once(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await shop(operator)
        due = datetime(2025, 4, 3, 6, tzinfo=UTC)  # 09:00 in Moscow

        def orders() -> list[dict[str, Any]]:
            return query(
                operator.dsn,
                "SELECT key, recipient, payload FROM core.outbox WHERE channel = 'monthly' ORDER BY id",
            )

        assert await order_monthly(operator.connection, due - timedelta(seconds=1)) == 0
        assert await order_monthly(operator.connection, due) == 1
        for later in (HOUR, 24 * HOUR, 600 * HOUR):
            assert await order_monthly(operator.connection, due + later) == 0
        assert await order_monthly(operator.connection, datetime(2025, 5, 7, 9, tzinfo=UTC)) == 1
        assert [order["payload"]["month"] for order in orders()] == ["2025-03-01", "2025-04-01"]
        assert {order["recipient"] for order in orders()} == {"a@example.com"}
        # the account begun in February has no report of January, and one without an address none at all
        query(operator.dsn, "UPDATE core.accounts SET created_at = '2025-07-02'")
        assert await order_monthly(operator.connection, datetime(2025, 7, 9, 9, tzinfo=UTC)) == 0
