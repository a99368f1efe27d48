"""The billing clock: sleeps until the next instant at which anything falls due, and settles then.

Settling again changes nothing. After an outage all that fell due meanwhile is posted, in the order in which
it did.
"""

from __future__ import annotations

from typing import Any, ClassVar, LiteralString

import structlog
from psycopg import AsyncConnection

from tracker_server.storage.due_clock import AT_ONCE_MAX, DueClock

log = structlog.get_logger(__name__)

DUE = """
SELECT account_id FROM core.billing WHERE next_due_at <= %s AND account_id <> ALL(%s)
ORDER BY next_due_at, account_id LIMIT %s
"""
NOT_OPENED = """
SELECT a.id FROM core.accounts a
WHERE NOT EXISTS (SELECT FROM core.billing b WHERE b.account_id = a.id) AND a.id <> ALL(%s) LIMIT %s
"""


class BillingClock(DueClock):
    """Settles every account in its time."""

    name: ClassVar[str] = "billing clock"
    channel: ClassVar[LiteralString] = "tracker_billing"
    next_statement: ClassVar[LiteralString] = (
        "SELECT min(next_due_at) FROM core.billing WHERE account_id <> ALL(%s)"
    )

    async def work_due(self, connection: AsyncConnection[Any]) -> int:
        """Settle every account that is due, those that were never opened too; answers how many."""
        settled = 0
        self.failed.clear()
        while True:
            now = self._now()
            failed = list(self.failed)
            rows = await (await connection.execute(DUE, [now, failed, AT_ONCE_MAX])).fetchall()
            rows += await (await connection.execute(NOT_OPENED, [failed, AT_ONCE_MAX])).fetchall()
            due = [account_id for (account_id,) in rows]
            if not due:
                return settled
            self.worked = True
            for account_id, error in (await self._store.settle_many(connection, due, now)).items():
                log.error("an account cannot be settled", account=account_id, exc_info=error)
                self.failed.add(account_id)
                self._metrics.billing_failures.inc()
            settled += len(due) - len(self.failed.intersection(due))
            self._metrics.billing_settled.inc(len(due))
