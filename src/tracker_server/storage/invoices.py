"""Papers' rows: issued in the transaction of the money that they are for, numbered without gaps, never changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tracker_server.alerts.letters import InvoiceLetter, encode
from tracker_server.billing.book import Entry
from tracker_server.billing.dates import start_of
from tracker_server.billing.documents import paper_kind, paper_of
from tracker_server.billing.facts import AnyFact, Booked
from tracker_server.model.paper import (
    LINES_MAX,
    CartLine,
    Paper,
    Party,
    Seller,
    Statement,
    StatementLine,
    number_of,
)
from tracker_server.pipeline.dispatcher import EMAIL
from tracker_server.storage.installations import after_invoice
from tracker_server.storage.outbox import NewMessage, enqueue

ONE_DAY = timedelta(days=1)

SET_SELLER = """
INSERT INTO core.seller (details) VALUES (%s)
ON CONFLICT (one) DO UPDATE SET details = excluded.details WHERE seller.details IS DISTINCT FROM excluded.details
"""
SELLER = "SELECT details FROM core.seller"
BUYER = (
    "SELECT name, address, country, tax_id, email, language, zone, currency FROM core.accounts WHERE id = %s"
)
CART = "SELECT cart FROM core.payments WHERE id = %s AND account_id = %s"
SERIES = "INSERT INTO core.invoice_series (series, last) VALUES (%s, 0) ON CONFLICT DO NOTHING"
# The row stays locked until the payment is committed: whoever is next waits, and takes the number after it, or the
# same one where the payment came to nothing.
NUMBER = "UPDATE core.invoice_series SET last = last + 1 WHERE series = %s RETURNING last"
WRITE = """
INSERT INTO core.invoices (account_id, key, kind, series, number, name, issued_at, amount_minor, currency, paper)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
"""
LIST = """
SELECT i.id, i.name AS number, i.kind, i.issued_at, i.amount_minor, i.currency, a.name AS account, i.account_id, i.key
FROM core.invoices i JOIN core.accounts a ON a.id = i.account_id
WHERE (%(account)s::bigint IS NULL OR i.account_id = %(account)s)
ORDER BY i.id DESC LIMIT %(limit)s
"""
PAPER = "SELECT paper, account_id FROM core.invoices WHERE name = %(name)s OR id = %(id)s"
OPENING = """
SELECT balance_minor FROM core.ledger WHERE account_id = %s AND at < %s ORDER BY number DESC LIMIT 1
"""
LINES = """
SELECT at, kind, device, day, amount_minor, balance_minor, key FROM core.ledger
WHERE account_id = %s AND at >= %s AND at < %s ORDER BY number LIMIT %s
"""
NAMES = "SELECT unique_id, name FROM core.devices WHERE account_id = %s"

COLUMNS = ("id", "number", "kind", "issued_at", "account", "amount", "currency", "key")


class TooLongError(ValueError):
    """A statement of more movements than a paper takes."""


class Buyer(Struct, frozen=True):
    """An account as papers name it."""

    party: Party
    language: str
    email: str | None
    zone: str
    currency: str


async def set_seller(connection: AsyncConnection[Any], seller: Seller) -> None:
    """Who sells, on the papers of now on. The connection is the owner's."""
    await connection.execute(SET_SELLER, [Jsonb(msgspec.to_builtins(seller))])


async def read_seller(connection: AsyncConnection[Any]) -> Seller:
    """Who sells."""
    row = await (await connection.execute(SELLER)).fetchone()
    return Seller() if row is None else msgspec.convert(row[0], Seller)


async def read_buyer(connection: AsyncConnection[Any], account_id: int) -> Buyer:
    """An account as papers name it."""
    row = await (await connection.execute(BUYER, [account_id])).fetchone()
    assert row is not None, account_id
    name, address, country, tax_id, email, language, zone, currency = row
    tax = " ".join(part for part in (country, tax_id) if part) if tax_id else ""
    return Buyer(Party(name, address, tax), language, email, zone, currency)


# ---------------------------------------------------------------------- issuing


async def issue_papers(
    connection: AsyncConnection[Any], account_id: int, facts: Sequence[AnyFact], now: datetime
) -> None:
    """Issue what these facts call for, and send it to whoever can be reached by e-mail. A part of the transaction
    that writes them, so there is no paper without its payment and no payment without its paper.
    """
    entries = [
        fact.entry
        for fact in facts
        if isinstance(fact, Booked) and paper_kind(fact.entry.transfer) is not None
    ]
    if not entries:
        return
    seller = await read_seller(connection)
    if not seller.issue:
        return
    buyer = await read_buyer(connection, account_id)
    for entry in entries:
        cart = await _cart(connection, account_id, entry)
        paper = paper_of(entry, seller, buyer.party, buyer.language, cart)
        assert paper is not None, "asked for above"
        invoice_id, numbered = await _write(connection, account_id, entry.transfer.id, paper)
        await after_invoice(connection, account_id, invoice_id, numbered, seller, now, cart=bool(cart))
        if buyer.email:
            await _send(connection, account_id, buyer.email, numbered, now)


async def _cart(connection: AsyncConnection[Any], account_id: int, entry: Entry) -> list[CartLine]:
    """What the payment was asked for, where it came through a gateway."""
    payment = payment_id_of(entry.transfer.payment or "")
    if not payment:
        return []
    row = await (await connection.execute(CART, [payment, account_id])).fetchone()
    return [] if row is None else msgspec.convert(row[0], list[CartLine])


def payment_id_of(key: str) -> str:
    """The payment's id of a top-up's key, ``pay:<gateway>:<id>`` and what may follow; empty for any other key."""
    parts = key.split(":")
    return parts[2] if parts[0] == "pay" and len(parts) >= 3 else ""


async def _write(
    connection: AsyncConnection[Any], account_id: int, key: str, paper: Paper
) -> tuple[int, Paper]:
    await connection.execute(SERIES, [paper.series])
    row = await (await connection.execute(NUMBER, [paper.series])).fetchone()
    assert row is not None, paper.series
    paper = replace(paper, number=number_of(paper.series, row[0]))
    written = await connection.execute(
        WRITE,
        [
            account_id,
            key,
            paper.kind.value,
            paper.series,
            row[0],
            paper.number,
            paper.issued_at,
            paper.amount_minor,
            paper.currency,
            Jsonb(msgspec.to_builtins(paper)),
        ],
    )
    made = await written.fetchone()
    assert made is not None, paper.number
    return made[0], paper


async def _send(
    connection: AsyncConnection[Any], account_id: int, email: str, paper: Paper, now: datetime
) -> None:
    message = NewMessage(
        f"paper:{paper.number}:{EMAIL}", EMAIL, email, account_id, encode(InvoiceLetter(paper)), now
    )
    await enqueue(connection, [message], now)


# ---------------------------------------------------------------------- reading


async def papers(
    connection: AsyncConnection[Any], account_id: int | None, limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    """Papers' rows, newest first; of one account or of all. Amounts are minor units of ``currency``."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        async for row in cursor.stream(LIST, {"account": account_id, "limit": limit}):
            yield row


async def read_paper(
    connection: AsyncConnection[Any], *, name: str | None = None, paper_id: int | None = None
) -> tuple[Paper, int] | None:
    """A paper and whose it is, by its number or its row."""
    row = await (await connection.execute(PAPER, {"name": name, "id": paper_id})).fetchone()
    return None if row is None else (msgspec.convert(row[0], Paper), row[1])


async def read_statement(
    connection: AsyncConnection[Any], account_id: int, first: date, last: date
) -> Statement:
    """All that moved from a date of the account's through another. Raises TooLongError."""
    seller, buyer = await read_seller(connection), await read_buyer(connection, account_id)
    begins, ends = start_of(first, buyer.zone), start_of(last + ONE_DAY, buyer.zone)
    rows = await connection.execute(LINES, [account_id, begins, ends, LINES_MAX + 1])
    found = await rows.fetchall()
    if len(found) > LINES_MAX:
        raise TooLongError(f"holds more than {LINES_MAX} movements; ask for a shorter period")
    names = dict(await (await connection.execute(NAMES, [account_id])).fetchall())
    lines = tuple(
        StatementLine(at, kind, _of(names, device, key), day, amount_minor, balance_minor)
        for at, kind, device, day, amount_minor, balance_minor, key in found
    )
    before = await (await connection.execute(OPENING, [account_id, begins])).fetchone()
    opening_minor = before[0] if before else 0
    return Statement(
        first=first,
        last=last,
        zone=buyer.zone,
        language=buyer.language,
        currency=buyer.currency,
        seller=seller,
        buyer=buyer.party,
        opening_minor=opening_minor,
        closing_minor=lines[-1].balance_minor if lines else opening_minor,
        lines=lines,
    )


def _of(names: dict[str, str], device: str | None, key: str) -> str:
    return key.partition(":")[2] if device is None else names.get(device) or device
