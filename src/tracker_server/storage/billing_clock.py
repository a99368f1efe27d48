"""The billing clock: sleeps until the next instant at which anything falls due, and settles then.

Nothing is polled: each account's next instant is written with its state, and a change to any of them is
told by NOTIFY. Several processes may run it; an account's lock lets one of them settle, and settling
again changes nothing. After an outage all that fell due meanwhile is posted, in the order in which it did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from tracker_server.metrics import Metrics
from tracker_server.storage.billing_store import BillingStore
from tracker_server.storage.database import AWAY, Database, Role

log = structlog.get_logger(__name__)

CHANNEL = "tracker_billing"
SLEEP_S_MAX = 30.0  # a system clock that is set forward is noticed within this time
RETRY_S = 1.0
AT_ONCE_MAX = 200

DUE = "SELECT account_id FROM core.billing WHERE next_due_at <= %s ORDER BY next_due_at, account_id LIMIT %s"
NOT_OPENED = """
SELECT a.id FROM core.accounts a WHERE NOT EXISTS (SELECT FROM core.billing b WHERE b.account_id = a.id) LIMIT %s
"""
NEXT = "SELECT min(next_due_at) FROM core.billing"


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


class BillingClock:
    """Runs for as long as the server does."""

    def __init__(
        self, database: Database, store: BillingStore, metrics: Metrics, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._store = store
        self._metrics = metrics
        self._now = now
        self._failed: set[int] = set()

    async def run(self) -> None:
        """Settle, sleep, settle; while the database is away, wait for it."""
        while True:
            try:
                async with (
                    await self._database.connect(Role.CORE) as listening,
                    await self._database.connect(Role.CORE) as connection,
                ):
                    await listening.execute(f"LISTEN {CHANNEL}")
                    while True:
                        await self.settle_due(connection)
                        await self._sleep(listening, connection)
            except AWAY as error:
                log.warning("the billing clock waits for the database", error=str(error).strip())
            await asyncio.sleep(RETRY_S)

    async def settle_due(self, connection: AsyncConnection[Any]) -> int:
        """Settle every account that is due; answers how many. One that cannot be settled keeps no other waiting."""
        settled = 0
        self._failed.clear()
        while True:
            now = self._now()
            rows = await (await connection.execute(DUE, [now, AT_ONCE_MAX])).fetchall()
            rows += await (await connection.execute(NOT_OPENED, [AT_ONCE_MAX])).fetchall()
            due = [account_id for (account_id,) in rows if account_id not in self._failed]
            if not due:
                return settled
            failed = await self._store.settle_many(connection, due, now)
            for account_id, error in failed.items():
                log.error("an account cannot be settled", account=account_id, exc_info=error)
                self._failed.add(account_id)
                self._metrics.billing_failures.inc()
            settled += len(due) - len(failed)
            self._metrics.billing_settled.inc(len(due))

    async def _sleep(self, listening: AsyncConnection[Any], connection: AsyncConnection[Any]) -> None:
        """Until something falls due, or somebody tells that something changed."""
        found = await (await connection.execute(NEXT)).fetchone()
        following = found[0] if found else None
        seconds = SLEEP_S_MAX
        if following is not None:
            seconds = min(max((following - self._now()).total_seconds(), 0.0), SLEEP_S_MAX)
        if self._failed:
            seconds = max(seconds, RETRY_S)
        async for _ in listening.notifies(timeout=max(seconds, 0.001), stop_after=1):
            pass
