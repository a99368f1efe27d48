"""What the hub hears from the database: alerts for open pages, and what other processes committed.

A process with open sockets holds a shared advisory lock. Whoever commits looks now and then whether another holds it,
and only then tells the numbers of the trackers that it touched. So one process alone notifies nobody, and a
second one hears of the first's commits at most ``LOOK_S`` after its first socket opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, LiteralString, Protocol

import structlog
from psycopg import AsyncConnection

from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.embedded import EmbeddedError

log = structlog.get_logger(__name__)

WEB: Final = "tracker_web"  # ids of alerts that a page is to show
TOUCHED: Final = "tracker_live"  # "pid id id …": trackers that a process touched
TICK_S: Final = 0.1
LOOK_S: Final = 2.0
RETRY_S: Final = 0.5
IDS_MAX: Final = 350  # in one payload, which may have 8,000 bytes: an id has up to 19 digits and a blank

LOCK: Final = 1_818_850_917  # "live"; advisory locks have numbers for names
HOLD: LiteralString = "SELECT pg_advisory_lock_shared(%s)"
LET_GO: LiteralString = "SELECT pg_advisory_unlock_shared(%s)"
OTHERS: LiteralString = """
SELECT EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = %s AND objsubid = 1
      AND pid <> pg_backend_pid() AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
"""


class Audience(Protocol):
    """The hub, as far as the relay needs it."""

    outbound: set[int] | None

    def __len__(self) -> int:
        """How many sockets are open here."""
        ...

    def touch(self, device_ids: Iterable[int]) -> None:
        """Something of these trackers is new."""
        ...

    def alerted(self, alert_ids: Iterable[int]) -> None:
        """These alerts are to be shown on pages."""
        ...


class LiveRelay:
    """Runs for as long as the server does."""

    def __init__(self, database: Database, hub: Audience) -> None:
        self._database = database
        self._hub = hub

    async def run(self) -> None:
        """Listen and tell; while the database is away, wait for it."""
        while True:
            try:
                async with (
                    await self._database.connect(Role.CORE) as listening,
                    await self._database.connect(Role.CORE) as telling,
                ):
                    await listening.execute(f"LISTEN {WEB}")
                    await listening.execute(f"LISTEN {TOUCHED}")
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._hear(listening, telling.info.backend_pid))
                        tasks.create_task(self._tell(telling))
            except* (*AWAY, EmbeddedError) as errors:
                log.warning(
                    "open sockets hear of this process alone", error=str(errors.exceptions[0]).strip()
                )
            self._hub.outbound = None
            await asyncio.sleep(RETRY_S)

    async def _hear(self, listening: AsyncConnection[Any], own_pid: int) -> None:
        async for notify in listening.notifies():
            if notify.channel == WEB:
                if len(self._hub):
                    self._hub.alerted([int(notify.payload)])
                continue
            pid, *ids = map(int, notify.payload.split())
            if pid != own_pid:
                self._hub.touch(ids)

    async def _tell(self, telling: AsyncConnection[Any]) -> None:
        holds = False
        looked = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if bool(len(self._hub)) is not holds:
                holds = not holds
                await telling.execute(HOLD if holds else LET_GO, [LOCK])
            if loop.time() - looked >= LOOK_S:
                looked = loop.time()
                found = await (await telling.execute(OTHERS, [LOCK])).fetchone()
                others = bool(found and found[0])
                if others is not (self._hub.outbound is not None):
                    self._hub.outbound = set() if others else None
            if self._hub.outbound:
                ids, self._hub.outbound = list(self._hub.outbound), set()
                for begin in range(0, len(ids), IDS_MAX):
                    numbers = " ".join(map(str, ids[begin : begin + IDS_MAX]))
                    payload = f"{telling.info.backend_pid} {numbers}"
                    await telling.execute("SELECT pg_notify(%s, %s)", [TOUCHED, payload])
            await asyncio.sleep(TICK_S)
