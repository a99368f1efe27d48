"""Refunds that go back through gateways, written down with their entry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from tracker_server.billing.book import Kind
from tracker_server.billing.facts import AnyFact, Booked
from tracker_server.storage.invoices import payment_id_of

WRITE = """
INSERT INTO core.payouts (key, account_id, payment_id, amount_minor, currency, next_at, created_at, changed_at)
SELECT %(key)s, %(account)s, p.id, %(amount)s, %(currency)s, %(now)s, %(now)s, %(now)s
FROM core.payments p WHERE p.id = %(payment)s
ON CONFLICT DO NOTHING
"""


async def write_payouts(
    connection: AsyncConnection[Any], account_id: int, facts: Sequence[AnyFact], now: datetime
) -> None:
    """Of each refund among these facts, what came through a gateway and goes back there. Part of their transaction."""
    for fact in facts:
        if not isinstance(fact, Booked) or fact.entry.transfer.kind is not Kind.REFUND:
            continue
        transfer = fact.entry.transfer
        for part in transfer.parts:
            if payment := payment_id_of(part.payment):
                values = {
                    "key": f"{account_id}:{transfer.id}:{part.payment}",
                    "account": account_id,
                    "payment": payment,
                    "amount": part.amount_minor,
                    "currency": transfer.currency,
                    "now": now,
                }
                await connection.execute(WRITE, values)
