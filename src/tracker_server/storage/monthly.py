"""Monthly reports: who is owed one, and what it says at the moment of reading, through the gate."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, time
from typing import Any, Final, LiteralString
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.billing.dates import date_at, start_of
from tracker_server.model.monthly import (
    DUE_ON,
    TRACKERS_MAX,
    Happening,
    MonthlyReport,
    TrackerMonth,
    business_day,
    days_within,
    incidents_and_requests,
    month_before,
    next_month,
)
from tracker_server.storage.invoices import read_buyer, read_seller
from tracker_server.storage.outbox import NewMessage, enqueue

CHANNEL: Final = "monthly"
SENT_AT: Final = time(9)
BLOCKING: Final = ("Blocked", "Unblocked")

ACCOUNTS: LiteralString = """
SELECT a.id, a.email, a.zone, a.created_at FROM core.accounts a
WHERE a.email IS NOT NULL AND a.email <> ''
  AND EXISTS (SELECT FROM core.devices d WHERE d.account_id = a.id AND d.removed_at IS NULL)
  AND NOT EXISTS (
      SELECT FROM core.monthly_reports m WHERE m.account_id = a.id
        AND m.month = (date_trunc('month', %s AT TIME ZONE a.zone) - interval '1 month')::date)
ORDER BY a.id
"""
ORDERED: LiteralString = (
    "INSERT INTO core.monthly_reports (account_id, month) VALUES (%s, %s) ON CONFLICT DO NOTHING"
)
MANAGED: LiteralString = """
SELECT device_id, unique_id, name, state, since FROM display.management WHERE account_id = %s ORDER BY name, unique_id LIMIT %s
"""
TRIPS: LiteralString = """
SELECT device_id, count(*), coalesce(sum(distance_mm), 0)::bigint FROM display.trips
WHERE account_id = %s AND started_at >= %s AND started_at < %s GROUP BY device_id
"""
EVENTS: LiteralString = """
SELECT device_id, type, occurred_at FROM display.events
WHERE account_id = %s AND occurred_at >= %s AND occurred_at < %s AND NOT superseded
  AND type IN ('deviceOffline', 'deviceOnline', 'alarm', 'maintenance')
ORDER BY occurred_at, id
"""
BLOCKS: LiteralString = """
SELECT fact ->> 'device', kind, at FROM core.journal
WHERE account_id = %s AND kind = ANY(%s) AND at < %s ORDER BY number
"""


class MonthlyOrder(Struct, frozen=True, tag="monthly"):
    """A report to be made and mailed, as the outbox keeps it."""

    account_id: int
    month: date


async def order_monthly(connection: AsyncConnection[Any], now: datetime) -> int:
    """Order last month's report of every account whose third business day has come; answers how many."""
    ordered = 0
    accounts = await (await connection.execute(ACCOUNTS, [now])).fetchall()
    for account_id, email, zone, created_at in accounts:
        today = date_at(now, zone)
        month = month_before(today)
        due = datetime.combine(business_day(today, DUE_ON), SENT_AT, ZoneInfo(zone))
        if now < due or created_at >= start_of(next_month(month), zone):
            continue
        async with connection.transaction():
            if not (await connection.execute(ORDERED, [account_id, month])).rowcount:
                continue
            order = msgspec.to_builtins(MonthlyOrder(account_id, month))
            key = f"monthly:{account_id}:{month:%Y-%m}"
            await enqueue(connection, [NewMessage(key, CHANNEL, email, account_id, order, now)], now)
        ordered += 1
    return ordered


async def read_month(
    core: AsyncConnection[Any], display: AsyncConnection[Any], account_id: int, month: date, now: datetime
) -> MonthlyReport:
    """An account's month as its customer may see it now. What the trackers did is read by the display role; of one that is
    hidden only for how many days it was.
    """
    seller, buyer = await read_seller(core), await read_buyer(core, account_id)
    begins, ends = start_of(month, buyer.zone), start_of(next_month(month), buyer.zone)
    period = [account_id, begins, ends]
    trips = {row[0]: row[1:] for row in await (await display.execute(TRIPS, period)).fetchall()}
    happenings: dict[int, list[Happening]] = defaultdict(list)
    for device, kind, at in await (await display.execute(EVENTS, period)).fetchall():
        happenings[device].append(Happening(kind, at))
    spans = await _blocked(core, account_id, ends, buyer.zone)
    rows = await (await display.execute(MANAGED, [account_id, TRACKERS_MAX])).fetchall()
    lines: list[TrackerMonth] = []
    for device, unique_id, name, state, since in rows:
        blocked = list(spans[unique_id])
        if state != "active" and since is not None:
            blocked.append((date_at(since, buyer.zone), date_at(now, buyer.zone)))
        days = days_within(blocked, month)
        called = name or unique_id
        if state != "active":
            lines.append(TrackerMonth(called, None, 0, 0, 0, days))
            continue
        count, distance_mm = trips.get(device, (0, 0))
        incidents, requests = incidents_and_requests(happenings[device], min(now, ends))
        lines.append(TrackerMonth(called, distance_mm, count, incidents, requests, days))
    return MonthlyReport(month, buyer.language, seller, buyer.party, tuple(lines), now)


async def _blocked(
    core: AsyncConnection[Any], account_id: int, ends: datetime, zone: str
) -> dict[str, list[tuple[date, date]]]:
    """The dates on which billing blocked each tracker, as far as that is over: from the journal."""
    found: dict[str, list[tuple[date, date]]] = defaultdict(list)
    since: dict[str, datetime] = {}
    rows = await core.execute(BLOCKS, [account_id, list(BLOCKING), ends])
    for device, kind, at in await rows.fetchall():
        if kind == "Blocked":
            since[device] = at
        elif device in since:
            found[device].append((date_at(since.pop(device), zone), date_at(at, zone)))
    return found
