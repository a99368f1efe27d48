"""Customers' rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

ACCOUNTS = """
SELECT a.id, a.name, a.zone, a.currency, t.name AS tariff, count(d.id) AS trackers, a.created_at
FROM core.accounts a
JOIN core.tariffs t ON t.id = a.tariff_id
LEFT JOIN core.devices d ON d.account_id = a.id AND d.removed_at IS NULL
WHERE %(name)s::text IS NULL OR a.name = %(name)s
GROUP BY a.id, t.id
ORDER BY a.name
"""
COLUMNS = ("id", "name", "zone", "currency", "tariff", "trackers", "created_at")


class AccountExistsError(Exception):
    """There is an account of that name already."""


async def add_account(
    connection: AsyncConnection[Any], name: str, *, zone: str, currency: str, tariff_id: int
) -> int:
    """A new customer's id. Raises AccountExistsError."""
    added = await connection.execute(
        "INSERT INTO core.accounts (name, zone, currency, tariff_id) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (name) DO NOTHING RETURNING id",
        [name, zone, currency, tariff_id],
    )
    row = await added.fetchone()
    if row is None:
        raise AccountExistsError(name)
    return row[0]


async def accounts(
    connection: AsyncConnection[Any], name: str | None = None
) -> AsyncIterator[dict[str, Any]]:
    """All accounts, or the one of that name, as ``COLUMNS``; ``trackers``: how many are connected."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        async for row in cursor.stream(ACCOUNTS, {"name": name}):
            yield row


async def account_ids(connection: AsyncConnection[Any]) -> dict[str, int]:
    """Every account's id by its name."""
    rows = await connection.execute("SELECT name, id FROM core.accounts")
    return dict(await rows.fetchall())
