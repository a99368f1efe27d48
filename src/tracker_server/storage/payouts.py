"""What goes back through the gateways: written with the refund's entry, handed over until the gateway takes it.

The key goes with it, so a gateway that was asked and whose answer was lost gives it back once. One that refuses is left
for people: `billing payouts` lists it, and says why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, LiteralString

import structlog
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from tracker_server.metrics import Metrics
from tracker_server.payments.port import Gateway, GatewayAwayError, GatewayRefusedError, Payback
from tracker_server.pipeline.dispatcher import utc_now
from tracker_server.storage.billing_store import BillingStore
from tracker_server.storage.database import Database
from tracker_server.storage.due_clock import DueClock

log = structlog.get_logger(__name__)

PAUSE_MIN = timedelta(seconds=10)
PAUSE_MAX = timedelta(hours=1)
COLUMNS = (
    "id", "account", "payment", "gateway", "amount", "currency", "state", "attempts", "error", "created_at", "next_at",
)  # fmt: skip
# Whoever has the row's lock hands it over; whoever dies lets go of it.
CLAIM = """
SELECT o.id, o.key, o.payment_id, coalesce(p.reference, ''), coalesce(p.charge, ''), o.amount_minor, o.currency, o.attempts,
       p.gateway
FROM core.payouts o JOIN core.payments p ON p.id = o.payment_id
WHERE o.state = 'waiting' AND o.next_at <= %s ORDER BY o.next_at, o.id LIMIT 1 FOR UPDATE OF o SKIP LOCKED
"""
SET = """
UPDATE core.payouts SET state = %s, reference = coalesce(%s, reference), error = %s, next_at = %s, changed_at = %s,
    attempts = attempts + 1
WHERE id = %s
"""
LIST = """
SELECT o.id, a.name AS account, o.payment_id AS payment, p.gateway, o.amount_minor, o.currency, o.state, o.attempts,
       o.error, o.created_at, o.next_at
FROM core.payouts o JOIN core.accounts a ON a.id = o.account_id JOIN core.payments p ON p.id = o.payment_id
WHERE %(state)s::text IS NULL OR o.state = %(state)s ORDER BY o.id DESC LIMIT %(limit)s
"""
RETRY = (
    "UPDATE core.payouts SET state = 'waiting', next_at = %s WHERE id = %s AND state = 'failed' RETURNING id"
)
DONE = """
UPDATE core.payouts SET state = 'done', changed_at = %s, error = NULL
WHERE id = %s AND state IN ('failed', 'sent') RETURNING id
"""


class PayoutClock(DueClock):
    """Hands over what waits, for as long as the server runs."""

    name: ClassVar[str] = "payouts"
    channel: ClassVar[LiteralString] = "tracker_payouts"
    next_statement: ClassVar[LiteralString] = (
        "SELECT min(next_at) FROM core.payouts WHERE state = 'waiting' AND id <> ALL(%s)"
    )

    def __init__(
        self,
        database: Database,
        store: BillingStore,
        metrics: Metrics,
        gateways: Mapping[str, Gateway],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(database, store, metrics, now)
        self._gateways = gateways

    async def work_due(self, connection: AsyncConnection[Any]) -> int:
        """Hand over all that is due; answers how many were taken."""
        taken = 0
        while True:
            async with connection.transaction():
                row = await (await connection.execute(CLAIM, [self._now()])).fetchone()
                if row is None:
                    return taken
                taken += await self._hand_over(connection, row)

    async def _hand_over(self, connection: AsyncConnection[Any], row: Sequence[Any]) -> bool:
        payout, key, payment, reference, charge, amount_minor, currency, attempts, gateway = row
        state, told, error, next_at = "sent", None, None, self._now()
        try:
            payback = Payback(key, payment, reference, charge, amount_minor, currency)
            over = await self._of(gateway).give_back(payback)
            state, told = ("done" if over.done else "sent"), over.reference
        except GatewayAwayError as away:
            state, error = "waiting", str(away)
            next_at += min(PAUSE_MIN * 2 ** min(attempts, 16), PAUSE_MAX)
        except GatewayRefusedError as refusing:
            state, error = "failed", str(refusing)
        await connection.execute(SET, [state, told, error, next_at, self._now(), payout])
        log.info("refund handed over", payout=payout, gateway=gateway, state=state, error=error)
        return state in {"sent", "done"}

    def _of(self, name: str) -> Gateway:
        gateway = self._gateways.get(name)
        if gateway is None:
            raise GatewayRefusedError(
                f"the gateway {name!r} is not set up any more; set it up, or give it back by hand"
            )
        return gateway


async def payouts(
    connection: AsyncConnection[Any], state: str | None, limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    """Refunds on their way, newest first. Amounts are minor units of ``currency``."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        async for row in cursor.stream(LIST, {"state": state, "limit": limit}):
            yield row


async def retry_payout(connection: AsyncConnection[Any], payout_id: int, now: datetime) -> bool:
    """Try one that failed again; answers whether there is such a one."""
    return (await connection.execute(RETRY, [now, payout_id])).rowcount > 0


async def payout_done(connection: AsyncConnection[Any], payout_id: int, now: datetime) -> bool:
    """It was given back by hand; answers whether there is such a one."""
    return (await connection.execute(DONE, [now, payout_id])).rowcount > 0
