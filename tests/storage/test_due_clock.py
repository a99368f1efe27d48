"""A clock's connection does not outlive what it was large for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, ClassVar, LiteralString

from psycopg import AsyncConnection

from tests.storage.track_rows import database_of
from tracker_server.billing.state import Settings as BillingSettings
from tracker_server.metrics import Metrics
from tracker_server.storage.billing_store import BillingStore
from tracker_server.storage.database import Database
from tracker_server.storage.due_clock import DueClock


class Scripted(DueClock):
    """Something is due in the rounds that say so; then it waits."""

    name: ClassVar[str] = "scripted"
    channel: ClassVar[LiteralString] = "scripted"
    next_statement: ClassVar[LiteralString] = (
        "SELECT now() FROM unnest(%s::bigint[]) RIGHT JOIN (SELECT) x ON true"
    )

    def __init__(self, database: Database, due: list[bool]) -> None:
        super().__init__(database, BillingStore(BillingSettings()), Metrics())
        self.due = due
        self.backends: list[int] = []
        self.ended = asyncio.Event()

    async def work_due(self, connection: AsyncConnection[Any]) -> int:
        if not self.due:
            self.ended.set()
            await asyncio.Event().wait()
        self.worked = self.due.pop(0)
        self.backends.append(connection.info.backend_pid)
        return 0


async def test_after_work_and_then_none_it_is_another(postgres_dsn: str) -> None:
    clock = Scripted(database_of(postgres_dsn), [False, True, True, False, False, False])
    running = asyncio.create_task(clock.run())
    async with asyncio.timeout(60):
        await clock.ended.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    before, after = clock.backends[:4], clock.backends[4:]
    assert (len(set(before)), len(set(after))) == (1, 1)
    assert before[0] != after[0]
