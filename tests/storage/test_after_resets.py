"""Rule R112: told to restart at 12:00:00, and no correct position for an hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from psycopg import AsyncConnection

from tests.storage.rows import query
from tracker_server.alerts.letters import decode
from tracker_server.alerts.wording import worded
from tracker_server.model.paper import Party
from tracker_server.storage.after_resets import look_after_resets
from tracker_server.storage.invoices import read_seller, set_seller

RESET = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FIX = """
INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol)
SELECT id, %s, %s, %s, 41.987654, 2.123456, %s, 'gt06' FROM core.devices WHERE unique_id = %s
"""


def fix(dsn: str, unique_id: str, fixed_at: datetime, received_at: datetime, *, valid: bool) -> None:
    query(dsn, "SELECT core.ensure_days(ARRAY[%s::date])", [fixed_at.date()])
    query(dsn, FIX, [fixed_at, received_at, fixed_at.minute * 60 + fixed_at.second, valid, unique_id])


@pytest.fixture
def reset(postgres_dsn: str) -> str:
    """Trackers T1 to T4, told to restart at noon; T3 is blocked."""
    query(
        postgres_dsn,
        "INSERT INTO core.devices (unique_id, account_id, name) SELECT 'T' || n, a.id, 'Van ' || n"
        " FROM core.accounts a, generate_series(1, 4) n WHERE a.name = 'default'",
    )
    query(
        postgres_dsn,
        "INSERT INTO core.command_queue (device_id, type, operator, created_at, expires_at, sent_at)"
        " SELECT id, 'rebootDevice', true, %s, %s, %s FROM core.devices",
        [RESET, RESET + timedelta(days=1), RESET],
    )
    query(
        postgres_dsn,
        "INSERT INTO core.blocks (device_id, reason, since) SELECT id, 'billing', %s FROM core.devices WHERE unique_id = 'T3'",
        [RESET - timedelta(days=9)],
    )
    return postgres_dsn


async def looked(dsn: str, at: datetime) -> list[str]:
    async with await AsyncConnection.connect(dsn, autocommit=True) as connection:
        return sorted(await look_after_resets(connection, at))


def mails(dsn: str) -> list[dict[str, Any]]:
    return query(dsn, "SELECT recipient, payload FROM core.outbox ORDER BY payload ->> 'unique_id'")


async def test_r112_an_hour_after_a_reset_without_a_correct_position(reset: str) -> None:
    async with await AsyncConnection.connect(reset, autocommit=True) as owner:
        seller = await read_seller(owner)
        await set_seller(owner, replace(seller, party=Party("Op", "", "", "help@example.com", "", "")))
    # T1 sends nothing; T2 and T3 report without a fix, and one from before the restart; T4 is well
    for unique_id in ("T2", "T3"):
        fix(reset, unique_id, RESET + 5 * SECOND, RESET + 6 * SECOND, valid=False)
        fix(reset, unique_id, RESET - 60 * SECOND, RESET + 7 * SECOND, valid=True)
    fix(reset, "T4", RESET + 3599 * SECOND, RESET + 3599 * SECOND, valid=True)
    assert await looked(reset, RESET + timedelta(minutes=59, seconds=59)) == []
    assert await looked(reset, RESET + timedelta(hours=1)) == ["T1", "T2", "T3"]
    assert await looked(reset, RESET + timedelta(hours=1, minutes=1)) == [], "one flag, and one mail"
    assert [mail["recipient"] for mail in mails(reset)] == ["help@example.com"] * 3
    told = [worded(decode(mail["payload"])) for mail in mails(reset)]
    assert told[0].subject == "Van 1 did not come back after its restart"
    assert "protocol: nothing came" in told[0].items
    assert "reports since without a correct position: 2" in told[1].items
    assert "state: blocked (billing)" in told[2].items
    every = repr(told)
    assert "41.98" not in every
    assert "2.12" not in every
    silent = query(
        reset,
        "SELECT unique_id FROM core.command_queue q JOIN core.devices d ON d.id = q.device_id WHERE silent ORDER BY 1",
    )
    assert [row["unique_id"] for row in silent] == ["T1", "T2", "T3"]


async def test_r112_a_server_that_was_down_for_days_does_not_cry_over_old_resets(reset: str) -> None:
    assert await looked(reset, RESET + timedelta(days=2)) == []
