"""Keeps the alert rules in memory true to the database: read whole at the start, then told of each change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog
from psycopg import AsyncConnection

from tracker_server.pipeline.alert_book import AlertBook
from tracker_server.storage.alert_rules import CHANNEL, read_households
from tracker_server.storage.database import AWAY, Database, Role

log = structlog.get_logger(__name__)

RETRY_S = 0.5
GATHER_S = 0.005  # rules that are written together are read together
PEOPLE = "tracker_people"  # users, groups and trackers changed: a3, an account's; u7, a user; more is no matter of rules
ACCOUNTS_OF = """
SELECT account_id FROM core.users WHERE id = ANY(%(users)s) AND account_id IS NOT NULL
UNION SELECT account_id FROM core.alert_rules WHERE user_id = ANY(%(users)s)
"""


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
                rules = {int(one.payload) for one in told if one.channel == CHANNEL}
                people = {one.payload for one in told if one.channel == PEOPLE}
                changed = rules | await self._concerned(reading, people)
                if changed:
                    fresh = await read_households(reading, changed)
                    for account_id in changed:
                        self._book.put(account_id, fresh.get(account_id))

    async def _concerned(self, connection: AsyncConnection[Any], words: Iterable[str]) -> set[int]:
        """The accounts whose rules may reach others now: those that these people are in, or were."""
        accounts = {int(word[1:]) for word in words if word.startswith("a")}
        users = {int(word[1:]) for word in words if word.startswith("u")}
        if users:
            rows = await connection.execute(ACCOUNTS_OF, {"users": list(users)})
            accounts |= {row[0] for row in await rows.fetchall()} | self._book.accounts_with(users)
        return accounts
