"""What the clocks of billing and of notices have in common: to sleep until something falls due, and no longer.

Nothing is polled: each account's next instant is written with its state, and whoever changes one tells by
NOTIFY. Several processes may run a clock; an account's lock lets one of them work on it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, LiteralString

import structlog
from psycopg import AsyncConnection, sql

from tracker_server.metrics import Metrics
from tracker_server.pipeline.dispatcher import utc_now
from tracker_server.storage.billing_store import BillingStore
from tracker_server.storage.database import AWAY, Database, Role

log = structlog.get_logger(__name__)

SLEEP_S_MAX = 30.0  # a system clock that is set forward is noticed within this time
RETRY_S = 1.0
FAILED_RETRY_S = 60.0  # for an account at which the work failed, and for a defect of ours
AT_ONCE_MAX = 200


class DueClock(ABC):
    """Runs for as long as the server does. ``failed``: accounts that the last round could not do; ``worked``: something was due
    in it that may be as large as an account.
    """

    name: ClassVar[str]
    channel: ClassVar[LiteralString]
    next_statement: ClassVar[LiteralString]
    """When something falls due next, accounts given as a list apart; NULL: never by itself."""

    def __init__(
        self, database: Database, store: BillingStore, metrics: Metrics, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._store = store
        self._metrics = metrics
        self._now = now
        self.failed: set[int] = set()
        self.worked = False

    @abstractmethod
    async def work_due(self, connection: AsyncConnection[Any]) -> int:
        """Do all that is due; answers how much that was. An account at which it fails keeps no other waiting."""

    async def run(self) -> None:
        """Work, sleep, work. While the database is away, wait for it; a defect of ours is told and tried again,
        for money must not be what stops a server from hearing its devices.
        """
        while True:
            try:
                async with await self._database.connect(Role.CORE) as listening:
                    await listening.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self.channel)))
                    while True:
                        async with await self._database.connect(Role.CORE) as connection:
                            await self._work_on(listening, connection)
            except AWAY as error:
                log.warning("a clock waits for the database", clock=self.name, error=str(error).strip())
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("a clock met a defect of ours", clock=self.name)
                await asyncio.sleep(FAILED_RETRY_S)

    async def _work_on(self, listening: AsyncConnection[Any], connection: AsyncConnection[Any]) -> None:
        """Until there was work and then none. A connection keeps buffers as large as the largest statement that it ever sent
        or answer that it got: an account of 5,000 trackers leaves 3 MB.
        """
        quiet = False
        while not quiet:
            before, self.worked = self.worked, False
            await self.work_due(connection)
            quiet = before and not self.worked
            if not quiet:
                await self._sleep(listening, connection)

    async def _sleep(self, listening: AsyncConnection[Any], connection: AsyncConnection[Any]) -> None:
        """Until something falls due, or somebody tells that something changed."""
        found = await (await connection.execute(self.next_statement, [list(self.failed)])).fetchone()
        following: datetime | None = found[0] if found else None
        seconds = FAILED_RETRY_S if self.failed else SLEEP_S_MAX
        if following is not None:
            seconds = min(max((following - self._now()).total_seconds(), 0.0), SLEEP_S_MAX)
        async for _ in listening.notifies(timeout=max(seconds, 0.001), stop_after=1):
            pass
