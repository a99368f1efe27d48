"""Reading money's rows: the ledger, whose account it is, who is due."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import dict_row

LEDGER = """
SELECT number, at, kind, device, day, amount_minor, balance_minor, currency, key, hash FROM core.ledger
WHERE account_id = %(account)s
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
ORDER BY number
"""
LEDGER_PAGE = """
SELECT number, at, kind, device, day, amount_minor, balance_minor, currency FROM core.ledger
WHERE account_id = %(account)s
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
  AND (%(before)s::bigint IS NULL OR number < %(before)s)
ORDER BY number DESC LIMIT %(limit)s
"""
ACCOUNT = "SELECT id, name, zone, currency FROM core.accounts WHERE name = %s"
ACCOUNT_OF_TRACKER = """
SELECT a.id, a.name, a.zone, a.currency FROM core.devices d JOIN core.accounts a ON a.id = d.account_id
WHERE d.unique_id = %s AND d.removed_at IS NULL
"""
DUE = """
SELECT a.id, a.name, a.zone, a.currency FROM core.accounts a LEFT JOIN core.billing b ON b.account_id = a.id
WHERE b.account_id IS NULL OR b.next_due_at <= %s ORDER BY a.id
"""
AHEAD = """
SELECT a.name, b.settled_to FROM core.billing b JOIN core.accounts a ON a.id = b.account_id
WHERE b.settled_to > %s ORDER BY b.settled_to DESC LIMIT 1
"""


class AccountRow(Struct, frozen=True):
    """A customer's row as far as money needs it."""

    id: int
    name: str
    zone: str
    currency: str


async def account_named(connection: AsyncConnection[Any], name: str) -> AccountRow | None:
    """The account of that name."""
    row = await (await connection.execute(ACCOUNT, [name])).fetchone()
    return None if row is None else AccountRow(*row)


async def account_by_id(connection: AsyncConnection[Any], account_id: int) -> AccountRow | None:
    """The account of that row."""
    row = await (
        await connection.execute(
            "SELECT id, name, zone, currency FROM core.accounts WHERE id = %s", [account_id]
        )
    ).fetchone()
    return None if row is None else AccountRow(*row)


async def accounts_by_tax_id(connection: AsyncConnection[Any], plain: str) -> list[int]:
    """The accounts with an e-mail address whose tax number this is, in letters and digits, with its country's or without."""
    rows = await connection.execute(
        "SELECT id FROM core.accounts WHERE email <> '' AND tax_id <> '' AND %(plain)s IN ("
        " regexp_replace(upper(tax_id), '[^0-9A-Z]', '', 'g'),"
        " upper(country) || regexp_replace(upper(tax_id), '[^0-9A-Z]', '', 'g')) ORDER BY id",
        {"plain": plain},
    )
    return [row for (row,) in await rows.fetchall()]


async def account_of_device(
    connection: AsyncConnection[Any], device_id: int
) -> tuple[AccountRow, str] | None:
    """Who has the tracker of that row, and its identifier; None where it is not connected."""
    rows = await connection.execute(
        "SELECT a.id, a.name, a.zone, a.currency, d.unique_id FROM core.devices d"
        " JOIN core.accounts a ON a.id = d.account_id WHERE d.id = %s AND d.removed_at IS NULL",
        [device_id],
    )
    row = await rows.fetchone()
    return None if row is None else (AccountRow(*row[:4]), row[4])


async def ledger_page(
    connection: AsyncConnection[Any],
    account_id: int,
    since: datetime | None,
    until: datetime | None,
    before: int | None,
    limit: int,
) -> list[dict[str, Any]]:
    """An account's entries, newest first, from below a number on."""
    values = {"account": account_id, "since": since, "until": until, "before": before, "limit": limit}
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LEDGER_PAGE, values)
        return await cursor.fetchall()


async def account_of_tracker(connection: AsyncConnection[Any], unique_id: str) -> AccountRow | None:
    """Who has the tracker of that identifier; None where it is not connected."""
    row = await (await connection.execute(ACCOUNT_OF_TRACKER, [unique_id])).fetchone()
    return None if row is None else AccountRow(*row)


async def all_accounts(connection: AsyncConnection[Any]) -> list[AccountRow]:
    """All of them, by name."""
    rows = await connection.execute("SELECT id, name, zone, currency FROM core.accounts ORDER BY name")
    return [AccountRow(*row) for row in await rows.fetchall()]


async def due_accounts(connection: AsyncConnection[Any], at: datetime) -> list[AccountRow]:
    """Those for which something falls due up to ``at``, and those that billing has not opened yet."""
    rows = await connection.execute(DUE, [at])
    return [AccountRow(*row) for row in await rows.fetchall()]


async def settled_beyond(connection: AsyncConnection[Any], at: datetime) -> tuple[str, datetime] | None:
    """The account that is settled furthest beyond ``at``, and how far; None where none is."""
    return await (await connection.execute(AHEAD, [at])).fetchone()


async def ledger(
    connection: AsyncConnection[Any], account_id: int, since: datetime | None, until: datetime | None
) -> AsyncIterator[dict[str, Any]]:
    """An account's entries with since ≤ at < until, in order: amounts in minor units of ``currency``."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        async for row in cursor.stream(LEDGER, {"account": account_id, "since": since, "until": until}):
            yield row
