"""Customers' rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg.rows import dict_row

ACCOUNTS = """
SELECT a.id, a.name, a.zone, a.currency, t.name AS tariff, a.email, a.messenger, a.phone, a.language,
       a.address, a.country, a.tax_id, count(d.id) AS trackers, a.created_at
FROM core.accounts a
JOIN core.tariffs t ON t.id = a.tariff_id
LEFT JOIN core.devices d ON d.account_id = a.id AND d.removed_at IS NULL
WHERE %(name)s::text IS NULL OR a.name = %(name)s
GROUP BY a.id, t.id
ORDER BY a.name
"""
CARDS = """
SELECT a.id, a.name, a.zone, a.currency, a.language, coalesce(a.email, '') AS email,
       coalesce(a.messenger, '') AS messenger, t.id AS tariff_id, t.name AS tariff, t.mode, a.address,
       coalesce(a.country, '') AS country, coalesce(a.tax_id, '') AS tax_id,
       coalesce((b.state #>> '{book,balances,customer}')::bigint, 0) AS balance_minor,
       -coalesce((b.state #>> '{book,balances,receivable}')::bigint, 0) AS owed_minor, d.devices, d.blocked, d.due_minor
FROM core.accounts a JOIN core.tariffs t ON t.id = a.tariff_id LEFT JOIN core.billing b ON b.account_id = a.id
CROSS JOIN LATERAL (
    SELECT count(*) AS devices, count(k.device_id) AS blocked, coalesce(sum(k.due_minor), 0)::bigint AS due_minor
    FROM core.devices d LEFT JOIN LATERAL (
        SELECT d.id AS device_id, sum(k.due_minor) AS due_minor FROM core.blocks k
        WHERE k.device_id = d.id AND k.since <= now() AND (k.until IS NULL OR now() < k.until) HAVING count(*) > 0
    ) k ON true
    WHERE d.account_id = a.id AND d.removed_at IS NULL
) d
WHERE %s::bigint[] IS NULL OR a.id = ANY(%s::bigint[]) ORDER BY a.name
"""
COLUMNS = (
    "id", "name", "zone", "currency", "tariff", "email", "messenger", "phone", "language", "trackers", "created_at",
    "address", "country", "tax_id",
)  # fmt: skip


# Messages that wait for an address go to the new one: the old may be the reason why they wait.
REROUTE = """
UPDATE core.outbox SET recipient = %s
WHERE account_id = %s AND channel = %s AND recipient = %s AND delivered_at IS NULL AND failed_at IS NULL
"""


class Contact(Struct, frozen=True):
    """How a customer is written to. Empty: not at all that way."""

    email: str = ""
    messenger: str = ""
    language: str = "en"
    phone: str = ""


NOBODY = Contact()


class Bearer(Struct, frozen=True):
    """How an account stands on papers. Empty: not at all."""

    address: str = ""
    country: str = ""
    tax_id: str = ""


class AccountExistsError(Exception):
    """There is an account of that name already."""


async def add_account(
    connection: AsyncConnection[Any],
    name: str,
    *,
    zone: str,
    currency: str,
    tariff_id: int,
    contact: Contact = NOBODY,
) -> int:
    """A new customer's id. Raises AccountExistsError."""
    added = await connection.execute(
        "INSERT INTO core.accounts (name, zone, currency, tariff_id, email, messenger, language, phone)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO NOTHING RETURNING id",
        [
            name,
            zone,
            currency,
            tariff_id,
            contact.email or None,
            contact.messenger or None,
            contact.language,
            contact.phone or None,
        ],
    )
    row = await added.fetchone()
    if row is None:
        raise AccountExistsError(name)
    return row[0]


async def set_contact(
    connection: AsyncConnection[Any],
    name: str,
    *,
    email: str | None = None,
    messenger: str | None = None,
    language: str | None = None,
    phone: str | None = None,
) -> Contact | None:
    """Change what is not None; answers what it is now, None where there is no such account. Messages that wait
    for an address that changed go to the new one; where it is taken away, they wait and fail as the old.
    """
    async with connection.transaction():
        found = await connection.execute(
            "SELECT id, coalesce(email, ''), coalesce(messenger, ''), language, coalesce(phone, '')"
            " FROM core.accounts"
            " WHERE name = %s FOR UPDATE",
            [name],
        )
        row = await found.fetchone()
        if row is None:
            return None
        account_id, *old = row
        before = Contact(*old)
        after = Contact(
            before.email if email is None else email,
            before.messenger if messenger is None else messenger,
            before.language if language is None else language,
            before.phone if phone is None else phone,
        )
        await connection.execute(
            "UPDATE core.accounts SET email = %s, messenger = %s, language = %s, phone = %s WHERE id = %s",
            [after.email or None, after.messenger or None, after.language, after.phone or None, account_id],
        )
        for channel, field in (("email", "email"), ("messenger", "messenger"), ("sms", "phone")):
            was, now = getattr(before, field), getattr(after, field)
            if was and now and was != now:
                await connection.execute(REROUTE, [now, account_id, channel, was])
        return after


async def set_bearer(
    connection: AsyncConnection[Any],
    name: str,
    *,
    address: str | None = None,
    country: str | None = None,
    tax_id: str | None = None,
) -> Bearer | None:
    """Change what is not None; answers what it is now, None where there is no such account. Papers that were issued
    keep what they say.
    """
    changed = await connection.execute(
        "UPDATE core.accounts SET address = coalesce(%s, address),"
        " country = nullif(coalesce(%s, country, ''), ''), tax_id = nullif(coalesce(%s, tax_id, ''), '')"
        " WHERE name = %s RETURNING address, coalesce(country, ''), coalesce(tax_id, '')",
        [address, country, tax_id, name],
    )
    row = await changed.fetchone()
    return None if row is None else Bearer(*row)


async def accounts(
    connection: AsyncConnection[Any], name: str | None = None
) -> AsyncIterator[dict[str, Any]]:
    """All accounts, or the one of that name, as ``COLUMNS``; ``trackers``: how many are connected."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        async for row in cursor.stream(ACCOUNTS, {"name": name}):
            yield row


async def account_cards(
    connection: AsyncConnection[Any], account_ids: list[int] | None
) -> list[dict[str, Any]]:
    """Accounts with what they have and owe, by name; None: all."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(CARDS, [account_ids, account_ids])
        return await cursor.fetchall()


async def change_account(
    connection: AsyncConnection[Any], account_id: int, *, name: str | None = None
) -> bool:
    """Another name; answers whether there is such an account. Raises AccountExistsError."""
    try:
        changed = await connection.execute(
            "UPDATE core.accounts SET name = coalesce(%s, name) WHERE id = %s", [name, account_id]
        )
    except UniqueViolation:
        raise AccountExistsError(name) from None
    return changed.rowcount > 0


async def account_ids(connection: AsyncConnection[Any]) -> dict[str, int]:
    """Every account's id by its name."""
    rows = await connection.execute("SELECT name, id FROM core.accounts")
    return dict(await rows.fetchall())
