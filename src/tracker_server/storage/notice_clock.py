"""The clock of notices: sleeps until the next instant at which any account may have to be told something.

As the billing clock, it polls nobody: each account's next look stands beside its state, and what changes one
is told by NOTIFY. It may run in several processes; an account's lock lets one of them look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from tracker_server.metrics import Metrics
from tracker_server.pipeline.dispatcher import utc_now
from tracker_server.storage.billing_store import BillingStore
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.notices import look

log = structlog.get_logger(__name__)

CHANNEL = "tracker_notices"
SLEEP_S_MAX = 30.0  # a system clock that is set forward is noticed within this time
RETRY_S = 1.0
FAILED_RETRY_S = 60.0  # for an account whose notices cannot be made
AT_ONCE_MAX = 200

DUE = """
SELECT account_id FROM core.billing WHERE next_notice_at <= %s AND account_id <> ALL(%s)
ORDER BY next_notice_at, account_id LIMIT %s
"""
NEXT = "SELECT min(next_notice_at) FROM core.billing WHERE account_id <> ALL(%s)"
STILL_DUE = "SELECT FROM core.billing WHERE account_id = %s AND next_notice_at <= %s FOR UPDATE"


class NoticeClock:
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
        """Look, sleep, look; while the database is away, wait for it."""
        while True:
            try:
                async with (
                    await self._database.connect(Role.CORE) as listening,
                    await self._database.connect(Role.CORE) as connection,
                ):
                    await listening.execute(f"LISTEN {CHANNEL}".encode())
                    while True:
                        await self.look_due(connection)
                        await self._sleep(listening, connection)
            except AWAY as error:
                log.warning("the clock of notices waits for the database", error=str(error).strip())
            await asyncio.sleep(RETRY_S)

    async def look_due(self, connection: AsyncConnection[Any]) -> int:
        """Look at every account that is due; answers how many notices were told. One at which it fails keeps no
        other waiting.
        """
        told = 0
        self._failed.clear()
        while True:
            now = self._now()
            found = await connection.execute(DUE, [now, list(self._failed), AT_ONCE_MAX])
            due = [account_id for (account_id,) in await found.fetchall()]
            if not due:
                return told
            for account_id in due:
                try:
                    told += await self.look_at(connection, account_id, now)
                except AWAY:
                    raise
                except (psycopg.Error, AssertionError, KeyError, ValueError):
                    log.exception("an account's notices cannot be made", account=account_id)
                    self._failed.add(account_id)
                    self._metrics.notices_failed.inc()

    async def look_at(self, connection: AsyncConnection[Any], account_id: int, now: datetime) -> int:
        """Settle one account and write what is due, in one transaction."""
        async with connection.transaction():
            state = await self._store.settle(connection, account_id, now)
            # another process may have looked while we waited for the account's lock
            if (await connection.execute(STILL_DUE, [account_id, now])).rowcount:
                return await look(connection, account_id, state, now)
        return 0

    async def _sleep(self, listening: AsyncConnection[Any], connection: AsyncConnection[Any]) -> None:
        found = await (await connection.execute(NEXT, [list(self._failed)])).fetchone()
        following = found[0] if found else None
        seconds = FAILED_RETRY_S if self._failed else SLEEP_S_MAX
        if following is not None:
            seconds = min(max((following - self._now()).total_seconds(), 0.0), SLEEP_S_MAX)
        async for _ in listening.notifies(timeout=max(seconds, 0.001), stop_after=1):
            pass
