"""What works off a queue of the database, beside the server: woken by NOTIFY, patient while the database is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, LiteralString

import structlog
from psycopg import AsyncConnection

from tracker_server.storage.copy_rows import register
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.embedded import EmbeddedError

log = structlog.get_logger(__name__)

RETRY_S: Final = 0.5
LOOK_EVERY_S: Final = 30.0  # what failed is tried again


async def work_off(
    database: Database,
    channel: LiteralString,
    turn: Callable[[AsyncConnection[Any]], Awaitable[bool]],
    *,
    idle_share: float = 0.0,
    deaf: Callable[[], None] = lambda: None,
) -> None:
    """Turn after turn, for as long as the server runs; one that answers False has found nothing, and the next waits for word.
    ``idle_share``: the time given back for each second of work. ``deaf`` is called when no word can be heard any more.
    """
    while True:
        try:
            async with (
                await database.connect(Role.CORE) as listening,
                await database.connect(Role.CORE) as working,
            ):
                await listening.execute(f"LISTEN {channel}")
                register(working.adapters)
                while True:
                    begun = time.monotonic()
                    if await turn(working):
                        await asyncio.sleep((time.monotonic() - begun) * idle_share)
                        continue
                    async for _ in listening.notifies(timeout=LOOK_EVERY_S, stop_after=1):
                        pass
        except (*AWAY, EmbeddedError) as error:
            log.debug("work waits for the database", queue=channel, error=str(error).strip())
        finally:
            deaf()
        await asyncio.sleep(RETRY_S)
