"""Keeps the alert rules in memory true to the database: read whole at the start, then told of each change."""

from __future__ import annotations

import asyncio

import structlog

from tracker_server.pipeline.alert_book import AlertBook
from tracker_server.storage.alert_rules import CHANNEL, read_households
from tracker_server.storage.database import AWAY, Database, Role

log = structlog.get_logger(__name__)

RETRY_S = 0.5
GATHER_S = 0.005  # rules that are written together are read together
PEOPLE = "tracker_people"  # users, groups and links changed, no matter whose


class AlertFeed:
    """Runs for as long as the server does."""

    def __init__(self, database: Database, book: AlertBook) -> None:
        self._database = database
        self._book = book
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Read all, then listen; after a break read all again, for what was told meanwhile is lost."""
        while True:
            try:
                await self._listen()
            except AWAY as error:
                log.warning("not hearing of changes to alert rules", error=str(error).strip())
            await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        async with (
            await self._database.connect(Role.CORE) as listening,
            await self._database.connect(Role.CORE) as reading,
        ):
            await listening.execute(f"LISTEN {CHANNEL}")
            await listening.execute(f"LISTEN {PEOPLE}")
            self._book.put_all(await read_households(reading))
            self.ready.set()
            while True:
                told = [notify async for notify in listening.notifies(stop_after=1)]
                await asyncio.sleep(GATHER_S)
                told += [notify async for notify in listening.notifies(timeout=0)]
                if any(notify.channel == PEOPLE for notify in told):
                    self._book.put_all(await read_households(reading))
                    continue
                changed = {int(notify.payload) for notify in told}
                fresh = await read_households(reading, changed)
                for account_id in changed:
                    self._book.put(account_id, fresh.get(account_id))
