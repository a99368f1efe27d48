"""Keeps the trackers in memory true to the database: read whole at the start, then told of each change.

The same connection tells whether the database is there at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import structlog

from tracker_server.gate import Hidden, decide
from tracker_server.metrics import Metrics
from tracker_server.pipeline.trackers import Trackers
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.embedded import EmbeddedError
from tracker_server.storage.tracker_rows import CHANNEL, read_all, read_some

log = structlog.get_logger(__name__)

RETRY_S = 0.5
GATHER_S = 0.005  # an import of many trackers tells of each; they are read together
COUNT_EVERY_S = 15.0  # blocks begin and end by time, too


class TrackerFeed:
    """Runs for as long as the server does."""

    def __init__(
        self,
        database: Database,
        trackers: Trackers,
        metrics: Metrics,
        changed: Callable[[Iterable[int]], None] = lambda _: None,
    ) -> None:
        """``changed`` is told of trackers, or their blocks, that are others now than they were."""
        self._database = database
        self._changed = changed
        self._trackers = trackers
        self._metrics = metrics
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Read all, then listen; after a break read all again, for what was told meanwhile is lost."""
        while True:
            try:
                await self._listen()
            except (*AWAY, EmbeddedError) as error:
                self._metrics.database_up.set(0)
                log.warning("not hearing of changes to trackers", error=str(error).strip())
            await asyncio.sleep(RETRY_S)
            try:
                await self._database.revive()
            except EmbeddedError as error:
                log.error("embedded database does not start", error=str(error))  # noqa: TRY400

    async def _listen(self) -> None:
        async with (
            await self._database.connect(Role.CORE) as listening,
            await self._database.connect(Role.CORE) as reading,
        ):
            await listening.execute(f"LISTEN {CHANNEL}")
            self._trackers.put_all(await read_all(reading))
            self._metrics.database_up.set(1)
            self._changed([tracker.id for tracker in self._trackers if tracker.id is not None])
            self.ready.set()
            changed: set[int] = set()
            while True:
                self._count()
                async for notify in listening.notifies(timeout=COUNT_EVERY_S, stop_after=1):
                    changed.add(int(notify.payload))
                if changed:
                    await asyncio.sleep(GATHER_S)
                    async for notify in listening.notifies(timeout=0):
                        changed.add(int(notify.payload))
                    for tracker_id, tracker in (await read_some(reading, changed)).items():
                        known = self._trackers.by_id(tracker_id)
                        if tracker is not None:
                            self._trackers.put(tracker)
                        elif known is not None:
                            self._trackers.discard(known)
                    self._changed(changed)
                    changed.clear()

    def _count(self) -> None:
        """The gate as it stands now, by reason."""
        hidden: dict[str, int] = {}
        now = datetime.now(UTC)
        for tracker in self._trackers:
            match decide(tracker.blocks, now) if tracker.blocks else None:
                case Hidden(blocks=blocks):
                    for block in blocks:
                        hidden[block.reason] = hidden.get(block.reason, 0) + 1
                case _:
                    pass
        self._metrics.devices.set(len(self._trackers))
        self._metrics.devices_hidden.clear()
        for reason, count in hidden.items():
            self._metrics.devices_hidden.labels(reason).set(count)
