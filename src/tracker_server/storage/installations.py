"""Visits to customers who bought trackers (R114): each invoice for a cart owes one, to be agreed on within the promised hours.

The operator's systems are told of each invoice by a signed message, and tell us of the visit; where they do not in time, the
operator gets one mail.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import structlog
from psycopg import AsyncConnection

from tracker_server.alerts.letters import InstallationLetter, InvoiceIssued, encode
from tracker_server.model.business_hours import business_hours
from tracker_server.model.paper import Paper, PaperKind, Seller
from tracker_server.pipeline.dispatcher import EMAIL
from tracker_server.storage.outbox import NewMessage, enqueue

log = structlog.get_logger(__name__)

WEBHOOK: Final = "webhook"
AT_ONCE_MAX: Final = 500
OWE: LiteralString = "INSERT INTO core.installations (invoice_id, due_at) VALUES (%s, %s)"
LATE: LiteralString = """
SELECT n.invoice_id, i.name, i.account_id, a.name, a.zone, i.issued_at, n.due_at
FROM core.installations n JOIN core.invoices i ON i.id = n.invoice_id JOIN core.accounts a ON a.id = i.account_id
WHERE n.due_at <= %s AND n.scheduled_at IS NULL AND n.told_at IS NULL
ORDER BY n.due_at LIMIT %s FOR UPDATE OF n SKIP LOCKED
"""
TOLD: LiteralString = "UPDATE core.installations SET told_at = %s WHERE invoice_id = %s"
SCHEDULE: LiteralString = """
UPDATE core.installations n SET scheduled_at = %(now)s, visit_at = %(visit)s
FROM core.invoices i WHERE i.id = n.invoice_id AND (i.name = %(name)s OR i.id = %(id)s) RETURNING i.name
"""


def due_at(seller: Seller, issued_at: datetime) -> datetime | None:
    """By when a visit is to be agreed on: hours from when the office is open. None: none is promised."""
    if not seller.installation_hours:
        return None
    hours = business_hours(seller.hours, seller.holidays, "seller.")
    starts = issued_at if hours is None else hours.starts(issued_at, seller.zone)
    return starts + timedelta(hours=seller.installation_hours)


async def after_invoice(
    connection: AsyncConnection[Any],
    account_id: int,
    invoice_id: int,
    paper: Paper,
    seller: Seller,
    now: datetime,
    *,
    cart: bool,
) -> None:
    """What an invoice that was just issued brings with it. Part of its transaction."""
    if paper.kind is not PaperKind.INVOICE:
        return
    if seller.events_url:
        key = f"invoice.issued:{paper.number}"
        letter = InvoiceIssued(
            number=paper.number,
            account=paper.buyer.name,
            currency=paper.currency,
            amount_minor=paper.amount_minor,
            issued_at=paper.issued_at,
            trackers=tuple(line.of for line in paper.lines if line.of) if cart else (),
        )
        await enqueue(
            connection, [NewMessage(key, WEBHOOK, seller.events_url, account_id, encode(letter), now)], now
        )
    due = due_at(seller, paper.issued_at) if cart else None
    if due is not None:
        await connection.execute(OWE, [invoice_id, due])


async def schedule(
    connection: AsyncConnection[Any],
    visit_at: datetime,
    now: datetime,
    *,
    name: str | None = None,
    invoice_id: int | None = None,
) -> str | None:
    """A visit was agreed on; answers the invoice's number, None where none is owed for it."""
    asked = {"now": now, "visit": visit_at, "name": name, "id": invoice_id}
    row = await (await connection.execute(SCHEDULE, asked)).fetchone()
    return None if row is None else row[0]


async def look_for_installations(connection: AsyncConnection[Any], now: datetime, email: str) -> list[str]:
    """Tell of every visit that nobody agreed on in time, once; answers the invoices' numbers."""
    late: list[str] = []
    async with connection.transaction():
        for row in await (await connection.execute(LATE, [now, AT_ONCE_MAX])).fetchall():
            invoice_id, number, account_id, account, zone, issued_at, due = row
            await connection.execute(TOLD, [now, invoice_id])
            late.append(number)
            log.warning("no visit was agreed on in time", invoice=number)
            if email:
                letter = InstallationLetter(number, account, zone, issued_at, due)
                key = f"support:installation:{number}:{EMAIL}"
                await enqueue(
                    connection, [NewMessage(key, EMAIL, email, account_id, encode(letter), now)], now
                )
    return late
