"""The clock of notices: sleeps until the next instant at which any account may have to be told something."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, LiteralString

import psycopg
import structlog
from psycopg import AsyncConnection

from tracker_server.storage.database import AWAY
from tracker_server.storage.due_clock import AT_ONCE_MAX, DueClock
from tracker_server.storage.notices import look

log = structlog.get_logger(__name__)

DUE = """
SELECT account_id FROM core.billing WHERE next_notice_at <= %s AND account_id <> ALL(%s)
ORDER BY next_notice_at, account_id LIMIT %s
"""
STILL_DUE = "SELECT FROM core.billing WHERE account_id = %s AND next_notice_at <= %s FOR UPDATE"


class NoticeClock(DueClock):
    """Looks at every account in its time."""

    name: ClassVar[str] = "clock of notices"
    channel: ClassVar[LiteralString] = "tracker_notices"
    next_statement: ClassVar[LiteralString] = (
        "SELECT min(next_notice_at) FROM core.billing WHERE account_id <> ALL(%s)"
    )

    async def work_due(self, connection: AsyncConnection[Any]) -> int:
        """Look at every account that is due; answers how many notices were told."""
        told = 0
        self.failed.clear()
        while True:
            now = self._now()
            found = await connection.execute(DUE, [now, list(self.failed), AT_ONCE_MAX])
            due = [account_id for (account_id,) in await found.fetchall()]
            if not due:
                return told
            self.worked = True
            for account_id in due:
                try:
                    told += await self.look_at(connection, account_id, now)
                except AWAY:
                    raise
                except (psycopg.Error, AssertionError, KeyError, ValueError):
                    log.exception("an account's notices cannot be made", account=account_id)
                    self.failed.add(account_id)
                    self._metrics.notices_failed.inc()

    async def look_at(self, connection: AsyncConnection[Any], account_id: int, now: datetime) -> int:
        """Settle one account and write what is due, in one transaction."""
        async with connection.transaction():
            state = await self._store.settle(connection, account_id, now)
            # another process may have looked while we waited for the account's lock
            if (await connection.execute(STILL_DUE, [account_id, now])).rowcount:
                return await look(connection, account_id, state, now)
        return 0
