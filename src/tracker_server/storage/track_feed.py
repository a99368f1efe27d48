"""Keeps fences and settings in memory true to the database: what changes is read again and swapped in between batches."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from psycopg import AsyncConnection

from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.embedded import EmbeddedError
from tracker_server.storage.track_grounds import CHANNEL, read_ground
from tracker_server.storage.track_store import TrackStage

log = structlog.get_logger(__name__)

RETRY_S = 0.5
GATHER_S = 0.005  # an import of many fences tells of each; they are read together
ACCOUNTS = "SELECT DISTINCT account_id FROM core.fences"


class TrackFeed:
    """Runs for as long as the server does."""

    def __init__(self, database: Database, stage: TrackStage) -> None:
        self._database = database
        self._stage = stage
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Read the accounts that have fences, then listen; after a break read all that is known again."""
        while True:
            try:
                await self._listen()
            except (*AWAY, EmbeddedError) as error:
                log.warning("not hearing of changes to fences", error=str(error).strip())
            await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        async with (
            await self._database.connect(Role.CORE) as listening,
            await self._database.connect(Role.CORE) as reading,
        ):
            await listening.execute(f"LISTEN {CHANNEL}")
            rows = await (await reading.execute(ACCOUNTS)).fetchall()
            changed = {account_id for (account_id,) in rows} | self._stage.grounds.keys()
            while True:
                for account_id in changed:
                    await self._read(reading, account_id)
                self.ready.set()
                changed = set()
                async for notify in listening.notifies(stop_after=1):
                    changed.add(int(notify.payload))
                await asyncio.sleep(GATHER_S)
                async for notify in listening.notifies(timeout=0):
                    changed.add(int(notify.payload))

    async def _read(self, connection: AsyncConnection[Any], account_id: int) -> None:
        before = self._stage.grounds.get(account_id)
        try:
            ground = await read_ground(connection, account_id, self._stage.base, before)
        except AWAY:
            raise
        except Exception:
            # what somebody wrote by hand must not be what stops a server from hearing its devices
            log.exception(
                "fences and settings of an account cannot be read; those before hold", account_id=account_id
            )
            return
        self._stage.grounds[account_id] = ground
