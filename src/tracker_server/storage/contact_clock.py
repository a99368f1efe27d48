"""Tells when a tracker has been silent for too long. Each tracker is looked at when its silence would be long enough, and
no sooner; nothing is asked of the database until one is.

What was told stands in ``core.device_state``, so that a restart tells nothing twice. While the server was down nobody
listened, so a silence counts from its start at the earliest.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import structlog
from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.model.event import SECOND_US, Event, EventType, moment
from tracker_server.pipeline.batch import micros
from tracker_server.pipeline.track_book import Held
from tracker_server.pipeline.trackers import Tracker, Trackers
from tracker_server.storage.copy_rows import register
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.embedded import EmbeddedError
from tracker_server.storage.maintenance import ensure_days
from tracker_server.storage.track_rows import Told
from tracker_server.storage.track_store import Taking, TrackStage

log = structlog.get_logger(__name__)

SLEEP_S_MAX: Final = 30.0  # a system clock that is set forward is noticed within this time
RETRY_S: Final = 1.0
AT_ONCE_MAX: Final = 500  # of one transaction

OFFLINE: LiteralString = """
UPDATE core.device_state s SET online = false FROM unnest(%s::bigint[], %s::timestamptz[]) AS u (device_id, before)
WHERE s.device_id = u.device_id AND s.online AND (s.contact_at IS NULL OR s.contact_at <= u.before) RETURNING s.device_id
"""
INACTIVE: LiteralString = """
UPDATE core.device_state s SET inactive = true FROM unnest(%s::bigint[], %s::timestamptz[]) AS u (device_id, before)
WHERE s.device_id = u.device_id AND NOT s.inactive AND (s.contact_at IS NULL OR s.contact_at <= u.before) RETURNING s.device_id
"""
STATEMENTS: Final[tuple[tuple[EventType, LiteralString], ...]] = (
    (EventType.DEVICE_OFFLINE, OFFLINE),
    (EventType.DEVICE_INACTIVE, INACTIVE),
)
NOTIFY = "SELECT pg_notify('tracker_devices', id::text) FROM unnest(%s::bigint[]) AS id"


class Silence(Struct, frozen=True):
    """A silence that has lasted long enough for this to be told, at ``due_us``."""

    tracker: Tracker
    kind: EventType
    due_us: int
    heard_us: int


class ContactClock:
    """Runs beside the server; ``watch`` is told of trackers that came online."""

    def __init__(
        self,
        database: Database,
        trackers: Trackers,
        stage: TrackStage,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._trackers = trackers
        self._stage = stage
        self._now = now
        self._begun_us = micros(now())
        self._due: list[tuple[int, int, str]] = []
        self._watched: set[tuple[int, str]] = set()
        self._lost: dict[int, int] = {}  # tracker to when it was heard last
        self._wake = asyncio.Event()

    def watch(self, tracker: Tracker) -> None:
        """Look at it when its silence would be long enough, if it is silent from now on."""
        for kind, after_s in self._limits(tracker):
            self._push(tracker, kind, after_s)

    def lost(self, tracker: Tracker) -> None:
        """It has told by a last will that it is gone: offline at once, unless it has spoken since."""
        if tracker.id is not None:
            self._lost[tracker.id] = tracker.contact_us
            self._wake.set()

    def _limits(self, tracker: Tracker) -> list[tuple[EventType, float]]:
        settings = self._stage.settings_of(tracker)
        limits: list[tuple[EventType, float]] = []
        if tracker.online:
            limits.append((EventType.DEVICE_OFFLINE, settings.offline_after_s))
        if settings.inactive_after_s is not None and tracker.contact_us:
            limits.append((EventType.DEVICE_INACTIVE, settings.inactive_after_s))
        return limits

    def _push(self, tracker: Tracker, kind: EventType, after_s: float) -> None:
        key = (tracker.id or 0, kind.value)
        if tracker.id is None or key in self._watched:
            return
        self._watched.add(key)
        heapq.heappush(self._due, (self._heard_us(tracker) + round(after_s * SECOND_US) + 1, *key))
        self._wake.set()

    def _heard_us(self, tracker: Tracker) -> int:
        return max(tracker.contact_us, self._begun_us)

    def due(self) -> list[Silence]:
        """The silences that have lasted long enough by now; those who spoke meanwhile are looked at later."""
        now_us = micros(self._now())
        found: list[Silence] = []
        while self._lost and len(found) < AT_ONCE_MAX:
            device_id, heard_us = self._lost.popitem()
            tracker = self._trackers.by_id(device_id)
            if tracker is not None and tracker.online and tracker.contact_us == heard_us:
                found.append(Silence(tracker, EventType.DEVICE_OFFLINE, heard_us, heard_us))
        while self._due and self._due[0][0] <= now_us and len(found) < AT_ONCE_MAX:
            _, device_id, name = heapq.heappop(self._due)
            self._watched.discard((device_id, name))
            tracker = self._trackers.by_id(device_id)
            if tracker is None:
                continue
            for kind, after_s in self._limits(tracker):
                if kind.value != name:
                    continue
                heard_us = self._heard_us(tracker)
                due_us = heard_us + round(after_s * SECOND_US)
                if due_us < now_us:
                    found.append(Silence(tracker, kind, due_us, heard_us))
                else:
                    self._push(tracker, kind, after_s)
        return found

    async def run(self) -> None:
        """Look, tell, sleep until the next may have been silent for too long."""
        for tracker in self._trackers:
            self.watch(tracker)
        while True:
            try:
                async with await self._database.connect(Role.CORE) as connection:
                    register(connection.adapters)
                    while True:
                        while found := self.due():
                            try:
                                await self.tell(connection, found)
                            except BaseException:
                                for one in found:
                                    self.watch(one.tracker)
                                raise
                        await self._sleep()
            except (*AWAY, EmbeddedError) as error:
                log.debug("the clock of contacts waits for the database", error=str(error).strip())
            await asyncio.sleep(RETRY_S)

    async def _sleep(self) -> None:
        self._wake.clear()
        wait_s = 0.0 if self._lost else SLEEP_S_MAX
        if self._due:
            wait_s = min(max((self._due[0][0] - micros(self._now())) / SECOND_US, 0.0), SLEEP_S_MAX)
        try:
            await asyncio.wait_for(self._wake.wait(), wait_s)
        except TimeoutError:
            return

    async def tell(self, connection: AsyncConnection[Any], silences: Sequence[Silence]) -> None:
        """Store that they are silent, and the events, unless another process has, or has heard them."""
        async with connection.transaction():
            taking = Taking(owners={one.tracker.id or 0: one.tracker for one in silences})
            for kind, statement in STATEMENTS:
                mine = {one.tracker.id: one for one in silences if one.kind is kind}
                if not mine:
                    continue
                rows = await connection.execute(
                    statement, [list(mine), [moment(one.heard_us) for one in mine.values()]]
                )
                for (device_id,) in await rows.fetchall():
                    due_us = mine[device_id].due_us
                    held = Held(Event(kind, due_us, due_us))
                    taking.rows.events.append(Told(device_id, held, self._stage.place_of(device_id)))
            if taking.rows.events:
                days = {moment(told.event.occurred_us).date() for told in taking.rows.events}
                await ensure_days(connection, sorted(days))
                texts, values, answers = self._stage.written(taking)
                text = f"WITH {', '.join(texts)} SELECT {', '.join(answers)}"
                row = await (await connection.execute(text.encode(), values)).fetchone()
                assert row is not None
                await self._stage.told(connection, taking, row, self._now())
                await connection.execute(NOTIFY, [list({told.tracker_id for told in taking.rows.events})])
        for told in taking.rows.events:
            if told.event.type is EventType.DEVICE_OFFLINE:
                taking.owners[told.tracker_id].online = False
