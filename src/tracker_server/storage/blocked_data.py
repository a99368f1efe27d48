"""How long what a blocked tracker records is kept (R141). Nothing is deleted that was not announced.

A purge is planned as its tracker is blocked for money or as its test time ends: for ``keep_days`` later, and never sooner
than the first notice and the days that lie between the notices allow. Its date stands in the management row. From that
date on, and only once all notices were written, what was received under the block goes when it is ``keep_days`` old. What was received
before the block stays; a payment ends it all.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.alerts.letters import MoneyNotice, TrackerLine, encode, spoken
from tracker_server.billing.dates import date_at
from tracker_server.pipeline.dispatcher import EMAIL, MESSENGER
from tracker_server.storage.outbox import NewMessage, enqueue

NOTICES: Final = (30, 7, 1)  # days before the purge
AT_ONCE_MAX: Final = 1_000  # notices of one round, and trackers of one deletion

ENDED: LiteralString = """
DELETE FROM core.purges g WHERE NOT EXISTS (
    SELECT FROM core.blocks b JOIN core.devices d ON d.id = b.device_id
    WHERE b.device_id = g.device_id AND b.since = g.since AND b.reason IN ('billing', 'test_expired') AND d.removed_at IS NULL
)
"""
BEGUN: LiteralString = """
INSERT INTO core.purges (device_id, since, purge_at)
SELECT b.device_id, min(b.since), greatest(min(b.since) + make_interval(days => %(keep)s), %(now)s + make_interval(days => %(first)s))
FROM core.blocks b JOIN core.devices d ON d.id = b.device_id
WHERE b.reason IN ('billing', 'test_expired') AND b.since <= %(now)s AND (b.until IS NULL OR b.until > %(now)s)
  AND d.removed_at IS NULL
GROUP BY b.device_id
ON CONFLICT DO NOTHING
"""
# keeping for longer is a promise that is kept at once; keeping for less moves no date that was told
LONGER: LiteralString = """
UPDATE core.purges SET purge_at = since + make_interval(days => %(keep)s), told = 0
WHERE since + make_interval(days => %(keep)s) > purge_at
"""
TO_TELL: LiteralString = """
SELECT g.device_id, g.since, g.purge_at, g.told, d.unique_id, d.name, a.id, a.name, a.language, a.zone, a.currency, a.email,
       a.messenger, coalesce((SELECT sum(due_minor) FROM core.blocks b WHERE b.device_id = g.device_id), 0)::bigint,
       coalesce((n.state #>> '{book,balances,customer}')::bigint, 0)
FROM core.purges g JOIN core.devices d ON d.id = g.device_id JOIN core.accounts a ON a.id = d.account_id
LEFT JOIN core.billing n ON n.account_id = a.id
WHERE g.told < %(count)s AND g.purge_at <= %(now)s + make_interval(days => (%(days)s::integer[])[g.told + 1])
ORDER BY g.purge_at, g.device_id LIMIT %(at_most)s FOR UPDATE OF g SKIP LOCKED
"""
TOLD: LiteralString = "UPDATE core.purges SET told = %s, purge_at = %s WHERE device_id = %s"
DUE: LiteralString = """
SELECT device_id, since FROM core.purges WHERE purge_at <= %s AND told = %s ORDER BY device_id
"""
# each table by the column that says when the server had it
TABLES: Final[tuple[tuple[LiteralString, LiteralString], ...]] = (
    ("positions", "received_at"),
    ("telemetry", "received_at"),
    ("events", "stored_at"),
    ("trips", "stored_at"),
    ("stops", "stored_at"),
    ("visits", "stored_at"),
)


class _Purge(Struct, frozen=True):
    device_id: int
    since: datetime
    purge_at: datetime
    told: int
    unique_id: str
    name: str
    account_id: int
    account: str
    language: str
    zone: str
    currency: str
    email: str | None
    messenger: str | None
    due_minor: int
    balance_minor: int


def after_notice(purge_at: datetime, told: int, now: datetime) -> datetime:
    """The date once the notice number ``told`` (from 1) is out: what remains to be told has its days, whatever
    time the server was down.
    """
    remaining = NOTICES[told - 1]
    return max(purge_at, now + timedelta(days=remaining))


async def keep_house(connection: AsyncConnection[Any], now: datetime, keep_days: int) -> int:
    """Plan, announce and delete; answers how many rows were deleted. ``keep_days`` 0: nothing is ever deleted."""
    async with connection.transaction():
        if not keep_days:
            await connection.execute("DELETE FROM core.purges")
            return 0
        await connection.execute(ENDED)
        await connection.execute(BEGUN, {"keep": keep_days, "now": now, "first": NOTICES[0]})
        await connection.execute(LONGER, {"keep": keep_days})
    while await announce(connection, now) == AT_ONCE_MAX:
        pass
    return await purge(connection, now, keep_days)


async def announce(connection: AsyncConnection[Any], now: datetime) -> int:
    """Write the notices that are due, one of each tracker at the most; answers how many."""
    asked = {"now": now, "days": list(NOTICES), "count": len(NOTICES), "at_most": AT_ONCE_MAX}
    async with connection.transaction():
        rows = [_Purge(*row) for row in await (await connection.execute(TO_TELL, asked)).fetchall()]
        for row in rows:
            told = row.told + 1
            purge_at = after_notice(row.purge_at, told, now)
            await connection.execute(TOLD, [told, purge_at, row.device_id])
            payload = encode(letter_of(row, purge_at, told))
            key = f"purge:{row.device_id}:{row.since.isoformat()}:{purge_at.date().isoformat()}:{told}"
            ways = ((EMAIL, row.email), (MESSENGER, row.messenger))
            messages = [
                NewMessage(f"{key}:{channel}", channel, to, row.account_id, payload, now)
                for channel, to in ways
                if to
            ]
            await enqueue(connection, messages, now)
    return len(rows)


def letter_of(row: _Purge, purge_at: datetime, told: int) -> MoneyNotice:
    """The announcement in facts: a date, a name and what is due, and nothing that the tracker sent."""
    name = row.unique_id if row.name in {"", row.unique_id} else f"{row.name} ({row.unique_id})"
    return MoneyNotice(
        kind="purge",
        level=-NOTICES[told - 1],
        account=row.account,
        language=spoken(row.language),
        currency=row.currency,
        amount_minor=max(0, row.due_minor - row.balance_minor),
        balance_minor=row.balance_minor,
        on=date_at(purge_at, row.zone),
        trackers=(TrackerLine(name),),
        count=1,
    )


async def purge(connection: AsyncConnection[Any], now: datetime, keep_days: int) -> int:
    """Delete what is ``keep_days`` old of what came under a block whose purge was announced; answers how many rows."""
    limit = now - timedelta(days=keep_days)
    deleted = 0
    for device_id, since in await (await connection.execute(DUE, [now, len(NOTICES)])).fetchall():
        async with connection.transaction():
            # whoever pays at this moment waits for us, or we find the block gone and leave everything
            held = await connection.execute(
                "SELECT FROM core.blocks WHERE device_id = %s AND since = %s AND reason IN ('billing', 'test_expired') FOR UPDATE",
                [device_id, since],
            )
            if not held.rowcount:
                continue
            for table, column in TABLES:
                done = await connection.execute(
                    f"DELETE FROM core.{table} WHERE device_id = %s AND {column} >= %s AND {column} < %s",  # noqa: S608
                    [device_id, since, limit],
                )
                deleted += done.rowcount
    return deleted
