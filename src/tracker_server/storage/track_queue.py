"""History that waits to be run again: what came too late to be taken with its batch, and what was stored before there
was an engine. Worked off beside, a slice at a time; a slice is one transaction, and the next begins where it ended.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from psycopg import AsyncConnection

from tracker_server.model.event import moment
from tracker_server.pipeline.batch import micros
from tracker_server.pipeline.track_book import Ground, mended
from tracker_server.pipeline.trackers import Tracker
from tracker_server.storage.database import Database
from tracker_server.storage.maintenance import ensure_days
from tracker_server.storage.queue_worker import work_off
from tracker_server.storage.track_grounds import read_ground
from tracker_server.storage.track_mend import EARLIEST_US, HISTORY_END_US, load, mend
from tracker_server.storage.track_rows import days_of
from tracker_server.storage.track_store import STATE_OF_ONE, Taking, TrackStage, fences_of, mark_of
from tracker_server.track.state import shifted

log = structlog.get_logger(__name__)

CHANNEL: Final = "tracker_track_queue"
DAY_US: Final = 86_400_000_000
SLICE_REPORTS: Final = 2_000  # of one transaction, which holds its tracker's batches up: some 50 ms
FAILED_S: Final = 600.0  # a slice that failed is tried again after this long
IDLE_SHARE: Final = 1.0  # time given back for each second of work: live reports come first

NEXT = """
SELECT q.device_id, q.from_at, q.until_at, d.unique_id, d.account_id, d.name FROM core.track_queue q
JOIN core.devices d ON d.id = q.device_id WHERE q.device_id <> ALL(%s) ORDER BY q.queued_at, q.device_id LIMIT 1
FOR UPDATE OF q SKIP LOCKED
"""
LOCK = "SELECT track_version FROM core.device_state WHERE device_id = %s FOR UPDATE"
DONE = "DELETE FROM core.track_queue WHERE device_id = %s"
REST = "UPDATE core.track_queue SET from_at = %s, until_at = %s WHERE device_id = %s"
WAITING = "SELECT count(*) FROM core.track_queue"


class TrackQueue:
    """Runs beside the server; ``work`` alone is what ``track rerun`` does."""

    def __init__(self, database: Database, stage: TrackStage) -> None:
        self._database = database
        self._stage = stage
        self._failed: dict[int, float] = {}

    async def run(self) -> None:
        """Slice after slice, for as long as the server runs."""
        await work_off(self._database, CHANNEL, self.work, idle_share=IDLE_SHARE)

    async def work(self, connection: AsyncConnection[Any]) -> bool:
        """Run one slice; False where nothing waits."""
        now = time.monotonic()
        self._failed = {device_id: until for device_id, until in self._failed.items() if until > now}
        try:
            async with connection.transaction():
                return await self._slice(connection)
        except _SliceError as error:
            log.exception("a history cannot be run; it is tried again", device_id=error.device_id)
            self._failed[error.device_id] = now + FAILED_S
            return True

    async def _slice(self, connection: AsyncConnection[Any]) -> bool:
        row = await (await connection.execute(NEXT, [list(self._failed)])).fetchone()
        if row is None:
            return False
        device_id, from_at, until_at, unique_id, account_id, name = row
        tracker = Tracker(unique_id, device_id, account_id, name=name)
        await connection.execute(LOCK, [device_id])
        ground = self._stage.grounds.get(account_id)
        if ground is None:
            ground = await read_ground(connection, account_id, self._stage.base)
        try:
            rest = await self._mend(connection, tracker, ground, (micros(from_at), micros(until_at)))
        except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise _SliceError(device_id) from error
        if rest is None:
            await connection.execute(DONE, [device_id])
            log.debug("history run again", device=unique_id)
        else:
            await connection.execute(REST, [moment(rest[0]), moment(rest[1]), device_id])
        return True

    async def _mend(
        self, connection: AsyncConnection[Any], tracker: Tracker, ground: Ground, touched: tuple[int, int]
    ) -> tuple[int, int] | None:
        """Run a slice; answers what is left of it."""
        assert tracker.id is not None
        begin, end = max(touched[0], EARLIEST_US), min(touched[1], HISTORY_END_US)
        loaded = (await load(connection, [tracker.id], {tracker.id: ground}, set()))[tracker.id]
        entry = loaded.entry
        entry.ground = ground
        run = await mend(connection, tracker.id, ground, (begin, end), reports_max=SLICE_REPORTS)
        state = run.state
        if state is None:
            state = shifted(entry.state, *run.shift) if any(run.shift) else entry.state
        change = mended(
            tracker,
            entry,
            state,
            run.window,
            superseded=run.superseded,
            added=run.added,
            redated=run.redated,
            checkpoints=run.checkpoints,
            void_us=run.void_us,
        )
        if run.rest_us is not None:
            # the state at the end is not yet made from all that is before it
            change.opened, change.closed = (), ()
        if run.until_us is not None and any(run.shift):
            change.shift_us, change.shift = run.until_us, run.shift
        taking = Taking(changes=[change], owners={tracker.id: tracker})
        taking.rows.add(change)
        days = [moment(day * DAY_US).date() for day in days_of(taking.rows)]
        if days:
            await ensure_days(connection, sorted(days))
        await self._stage.shift(connection, change)
        texts, values, answers = self._stage.written(taking)
        statement = f"WITH {', '.join([*texts, STATE_OF_ONE])} SELECT {', '.join(answers)}"
        _, *totals, moving = mark_of(change)
        stands = [*totals, bool(moving), fences_of(change.entry.state), tracker.id]
        row = await (await connection.execute(statement.encode(), [*values, *stands])).fetchone()
        assert row is not None
        await self._stage.told(connection, taking, row, datetime.now(UTC))
        return None if run.rest_us is None else (run.rest_us, max(end, run.rest_us))


class _SliceError(Exception):
    def __init__(self, device_id: int) -> None:
        super().__init__(device_id)
        self.device_id = device_id


async def waiting(connection: AsyncConnection[Any]) -> int:
    """How many trackers' histories wait."""
    row = await (await connection.execute(WAITING)).fetchone()
    return row[0] if row else 0
