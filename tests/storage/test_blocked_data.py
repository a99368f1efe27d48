"""Rule R141: what a tracker records while it is blocked is deleted only after three notices, from the date in its row on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.storage.rows import query
from tests.storage.test_billing_gate import begun, fixes
from tests.storage.test_billing_store import DAY, Operator, operating
from tracker_server.billing.commands import TopUp
from tracker_server.storage.blocked_data import after_notice, keep_house

MARCH = datetime(2025, 3, 1, 7, tzinfo=UTC)
KEEP = 60
AN_HOUR = timedelta(hours=1)


def row(operator: Operator) -> dict[str, Any]:
    """What its owner is told, read by the role that customers read with."""
    return query(operator.dsn, "SELECT state, purge_at FROM display.management WHERE unique_id = 'T1'")[0]


def kept(operator: Operator) -> list[datetime]:
    rows = query(operator.dsn, "SELECT received_at FROM core.positions ORDER BY 1")
    return [one["received_at"] for one in rows]


def told(operator: Operator) -> list[tuple[str, int, str, str]]:
    rows = query(
        operator.dsn, "SELECT channel, payload FROM core.outbox WHERE key LIKE 'purge:%%' ORDER BY id"
    )
    return [
        (one["channel"], one["payload"]["level"], one["payload"]["on"], one["payload"]["trackers"][0]["name"])
        for one in rows
    ]


async def blocked(operator: Operator) -> None:
    """T1 owes its connection fee since March 1; of what is stored, one fix is older than that."""
    query(operator.dsn, "UPDATE core.accounts SET email = 'a@example.com'")
    operator.adds("T1")
    begun(operator, MARCH)
    await operator.settles(MARCH)
    fixes(operator, "T1", MARCH - DAY, *(MARCH + n * DAY for n in (0, 1, 2, 30)))


async def test_r141_data_of_the_long_blocked_are_deleted_only_as_announced(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await blocked(operator)
        every = kept(operator)
        purge_at = MARCH + KEEP * DAY
        for day in range(KEEP):  # as maintenance does, but once a day
            now = MARCH + day * DAY + AN_HOUR
            assert await keep_house(operator.connection, now, KEEP) == 0
            assert row(operator)["state"] == "blocked"
            assert row(operator)["purge_at"] >= purge_at
        assert told(operator) == [
            ("email", -30, "2025-04-30", "T1"),
            ("email", -7, "2025-04-30", "T1"),
            ("email", -1, "2025-04-30", "T1"),
        ]
        assert kept(operator) == every
        at = row(operator)["purge_at"]
        assert timedelta() <= at - purge_at <= DAY
        assert await keep_house(operator.connection, at + AN_HOUR, KEEP) == 1
        assert kept(operator) == [MARCH - DAY, *(MARCH + n * DAY for n in (1, 2, 30))], "the paid time stays"
        assert await keep_house(operator.connection, at + 2 * DAY, KEEP) == 2, "and so on, day by day"
        # Paid: the rest is there, and there is nothing to announce any more.
        await operator.does(TopUp(key="p1", amount_minor=31000), at + 3 * DAY)
        assert await keep_house(operator.connection, at + 900 * DAY, KEEP) == 0
        assert row(operator) == {"state": "active", "purge_at": None}
        assert kept(operator) == [MARCH - DAY, MARCH + 30 * DAY]
        assert len(told(operator)) == 3


async def test_r141_an_outage_moves_the_date_and_not_the_notices(postgres_dsn: str) -> None:
    """Nobody ran for half a year: the notices come first, each with its days, and the date moves with them."""
    async with operating(postgres_dsn) as operator:
        await blocked(operator)
        late = MARCH + 180 * DAY
        assert await keep_house(operator.connection, late, KEEP) == 0
        assert row(operator)["purge_at"] == late + 30 * DAY
        assert await keep_house(operator.connection, late + 29 * DAY + 23 * AN_HOUR, KEEP) == 0
        assert row(operator)["purge_at"] == late + 29 * DAY + 23 * AN_HOUR + 7 * DAY
        assert [level for _, level, _, _ in told(operator)] == [-30, -7]
        assert len(kept(operator)) == 5


async def test_r141_without_a_limit_nothing_is_announced_and_nothing_deleted(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await blocked(operator)
        await keep_house(operator.connection, MARCH + DAY, KEEP)
        assert row(operator)["purge_at"] is not None
        assert await keep_house(operator.connection, MARCH + 5000 * DAY, 0) == 0
        assert row(operator)["purge_at"] is None
        assert len(kept(operator)) == 5
        # A hold is the operator's quarrel, and no reason to delete.
        query(operator.dsn, "UPDATE core.blocks SET reason = 'hold'")
        await keep_house(operator.connection, MARCH + 5000 * DAY, KEEP)
        assert row(operator)["purge_at"] is None


def test_r141_a_notice_has_its_days() -> None:
    now = MARCH
    assert after_notice(now + 40 * DAY, 1, now) == now + 40 * DAY
    assert after_notice(now + 2 * DAY, 2, now) == now + 7 * DAY
    assert after_notice(now, 3, now) == now + DAY
