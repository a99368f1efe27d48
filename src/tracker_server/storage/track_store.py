"""The track engine within the batch's transaction: what it knows of each tracker, what it makes of new reports, and the
one statement that writes that together with the trackers' newest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString

import structlog
from msgspec import Struct, field
from psycopg import AsyncConnection

from tracker_server.alerts.rules import AlertEvent
from tracker_server.model.event import SECOND_US, Event, EventType, moment
from tracker_server.pipeline.batch import micros
from tracker_server.pipeline.track_book import Change, Deep, Entry, Ground, Held, mended, take
from tracker_server.pipeline.trackers import Tracker
from tracker_server.storage.copy_rows import Bigints, Moments
from tracker_server.storage.proximities import touched
from tracker_server.storage.track_grounds import read_ground
from tracker_server.storage.track_mend import EARLIEST_US, load, mend
from tracker_server.storage.track_rows import (
    SHIFT_CHECKPOINTS,
    SHIFT_TRIPS,
    Rows,
    Told,
    answers,
    learn,
    parts,
    state_bytes,
)
from tracker_server.track.engine import step
from tracker_server.track.observation import Observation
from tracker_server.track.phases import MOVING_PHASES
from tracker_server.track.settings import TrackSettings
from tracker_server.track.sides import WAS_IN
from tracker_server.track.state import State, shifted

log = structlog.get_logger(__name__)

DEEP_REPORTS_MAX: Final = (
    1_000  # run again within a batch, of all trackers together: some 20 ms; the rest waits
)

Tell = Callable[[AsyncConnection[Any], Sequence[AlertEvent], datetime], Awaitable[None]]
"""Told of the events of a batch, in its transaction."""

FLUSH = """
INSERT INTO core.track_checkpoints (device_id, at, digest, odometer_mm, engine_us, state)
SELECT u.device_id, u.at, u.digest, u.odometer_mm, u.engine_us, u.state
FROM unnest(%s, %s, %s, %s, %s, %s::bytea[], %s) AS u (device_id, at, digest, odometer_mm, engine_us, state, version)
JOIN core.device_state s ON s.device_id = u.device_id AND s.track_version = u.version
ON CONFLICT (device_id, at) DO UPDATE SET digest = excluded.digest, odometer_mm = excluded.odometer_mm,
    engine_us = excluded.engine_us, state = excluded.state, stored_at = now()
"""


PLACES = """
SELECT p.device_id, p.fixed_at, p.digest, p.latitude, p.longitude
FROM unnest(%(ids)s, %(at)s, %(digests)s) AS u (device_id, at, digest)
JOIN core.positions p ON p.device_id = u.device_id AND p.fixed_at = u.at AND p.digest = u.digest
WHERE p.fixed_at >= %(first)s AND p.fixed_at <= %(last)s
"""
ONLINE = (
    "SELECT device_id, online FROM core.device_state WHERE device_id = ANY(%s) ORDER BY device_id FOR UPDATE"
)
STATE_OF_ONE: LiteralString = """state AS (
    UPDATE core.device_state SET track_version = track_version + 1, odometer_mm = %s, engine_us = %s, moving = %s, fence_ids = %s::bigint[]
    WHERE device_id = %s
)"""


class Taking(Struct):
    """What the engine made of a batch: to be written, and kept in memory once that is committed."""

    changes: list[Change] = field(default_factory=list)
    rows: Rows = field(default_factory=Rows)
    online: list[Tracker] = field(default_factory=list)
    owners: dict[int, Tracker] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)


class TrackStage:
    """The engine's part of the writer. ``tell``: who hears of events."""

    def __init__(self, base: TrackSettings, tell: Tell | None = None) -> None:
        self.base = base
        self.tell = tell
        self.grounds: dict[int, Ground] = {}
        self.entries: dict[int, Entry] = {}
        self.came_online: Callable[[Tracker], None] = lambda _: None
        self.paired: frozenset[int] | None = None  # trackers of pairs; None: not known here

    def settings_of(self, tracker: Tracker) -> TrackSettings:
        """What holds for a tracker, as far as is known."""
        ground = self.grounds.get(tracker.account_id or 0)
        return self.base if ground is None else ground.settings_of(tracker.id or 0)

    def place_of(self, device_id: int) -> tuple[float, float] | None:
        """Where it was last, if it is known here."""
        entry = self.entries.get(device_id)
        last = entry.state.last if entry is not None else None
        if last is None or last.latitude is None or last.longitude is None:
            return None
        return last.latitude, last.longitude

    # ------------------------------------------------------------------ before the batch

    async def prepare(self, connection: AsyncConnection[Any], trackers: Mapping[Tracker, Any]) -> None:
        """Know the fences and settings of all accounts that these trackers belong to."""
        accounts = {tracker.account_id for tracker in trackers} - self.grounds.keys()
        for account_id in accounts:
            assert account_id is not None
            ground = await read_ground(connection, account_id, self.base)
            self.grounds.setdefault(account_id, ground)

    def forget(self, ids: Sequence[int]) -> None:
        """Read these trackers' states from the database when they are met again."""
        for device_id in ids:
            self.entries.pop(device_id, None)

    # ------------------------------------------------------------------ within the batch

    async def take(
        self,
        connection: AsyncConnection[Any],
        fed: dict[Tracker, list[Observation]],
        contacts: Mapping[Tracker, Any],
        now_us: int,
    ) -> Taking:
        """Take the reports that are new and stored by now. A defect of the engine's costs no report: their history is
        queued, to be run when the defect is mended.
        """
        taking = Taking(owners={tracker.id: tracker for tracker in contacts if tracker.id is not None})
        queued: list[tuple[int, int, int]] = []
        if fed:
            queued = await self._load(connection, fed)
            try:
                changes, deep = take(fed, self.entries, self.grounds)
                changes += await self._deep(connection, deep)
                for change in changes:
                    taking.rows.add(change)
                taking.changes = changes
            except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError):
                log.exception("the track engine failed; the reports are stored, their history is queued")
                taking = Taking(owners=taking.owners, failed=[t.id for t in fed if t.id is not None])
                queued += [
                    (t.id, min(seen.at_us for seen in reports), max(seen.at_us for seen in reports))
                    for t, reports in fed.items()
                    if t.id is not None
                ]
        if queued:
            once = {device_id: (device_id, begin, end) for device_id, begin, end in queued}
            already = {device_id for device_id, _, _ in taking.rows.queued}
            taking.rows.queued += [one for one in once.values() if one[0] not in already]
        await self._greet(connection, taking, contacts, now_us)
        for change in taking.changes:
            if change.shift_us is not None:
                await self.shift(connection, change)
        await self._find_places(connection, taking)
        return taking

    async def _find_places(self, connection: AsyncConnection[Any], taking: Taking) -> None:
        """Where events were whose fix is older than what memory holds."""
        missing = [one for one in taking.rows.events if one.place is None and one.event.digest is not None]
        if not missing:
            return
        moments = [one.event.occurred_us for one in missing]
        rows = await connection.execute(
            PLACES,
            {
                "ids": Bigints([one.tracker_id for one in missing]),
                "at": Moments(moments),
                "digests": Bigints([one.event.digest for one in missing]),
                "first": moment(min(moments)),
                "last": moment(max(moments)),
            },
            binary=True,
        )
        found = {(d, micros(at), digest): place for d, at, digest, *place in await rows.fetchall()}
        for one in missing:
            place = found.get((one.tracker_id, one.event.occurred_us, one.event.digest or 0))
            one.place = None if place is None else (place[0], place[1])

    async def _load(
        self, connection: AsyncConnection[Any], fed: dict[Tracker, list[Observation]]
    ) -> list[tuple[int, int, int]]:
        """States that memory does not hold; answers histories that are too long to be taken now."""
        unknown = [t for t in fed if t.id is not None and t.id not in self.entries]
        if not unknown:
            return []
        ids = [t.id for t in unknown if t.id is not None]
        new = {(t.id, seen.at_us, seen.digest) for t in unknown if t.id is not None for seen in fed[t]}
        grounds = {t.id: self.grounds[t.account_id] for t in unknown if t.id and t.account_id is not None}
        loaded = await load(connection, ids, grounds, new)
        queued: list[tuple[int, int, int]] = []
        for tracker in unknown:
            assert tracker.id is not None
            one = loaded[tracker.id]
            one.entry.ground = grounds[tracker.id]
            self.entries[tracker.id] = one.entry
            if one.queue_us is not None:
                queued.append((tracker.id, one.queue_us, max(seen.at_us for seen in fed[tracker])))
        return queued

    async def _deep(self, connection: AsyncConnection[Any], deep: Sequence[Deep]) -> list[Change]:
        """Reports that are later than what memory holds: run again as far as one batch may take."""
        left = DEEP_REPORTS_MAX
        changes: list[Change] = []
        for one in deep:
            change = await self._one_deep(connection, one, left)
            left -= len(change.reports)
            changes.append(change)
        return changes

    async def _one_deep(self, connection: AsyncConnection[Any], deep: Deep, left: int) -> Change:
        tracker, reports = deep.tracker, deep.reports
        assert tracker.id is not None
        assert tracker.account_id is not None
        entry, ground = self.entries[tracker.id], self.grounds[tracker.account_id]
        entry.ground = ground
        state = entry.state
        seen = (state.seen_us or 0, state.seen_digest)
        late = [one for one in reports if (one.at_us, one.digest) <= seen]
        ahead = [one for one in reports if (one.at_us, one.digest) > seen]
        touched = min(deep.from_us, reports[0].at_us), max((one.at_us for one in late), default=deep.from_us)
        if left <= 0:
            return self._ahead(tracker, entry, ground, ahead, queue_us=touched)
        run = await mend(connection, tracker.id, ground, touched, reports_max=left)
        added, superseded = run.added, run.superseded
        queue_us = None
        if run.state is not None:
            state = run.state
        else:
            state = shifted(state, *run.shift) if any(run.shift) else state
            if run.rest_us is not None:
                queue_us = run.rest_us, max(touched[1], run.rest_us)
            if ahead:
                taken = step(state, ahead, ground.settings_of(tracker.id), ground.fences)
                state, added = taken.state, [*added, *map(Held, taken.found)]
                if taken.retracted:
                    queue_us = EARLIEST_US, max(touched[1], reports[-1].at_us)
        change = mended(
            tracker,
            entry,
            state,
            run.window,
            superseded=superseded,
            added=added,
            redated=run.redated,
            checkpoints=run.checkpoints,
            void_us=run.void_us,
        )
        change.queue_us = queue_us
        if run.until_us is not None and any(run.shift):
            change.shift_us, change.shift = run.until_us, run.shift
        return change

    def _ahead(
        self,
        tracker: Tracker,
        entry: Entry,
        ground: Ground,
        ahead: list[Observation],
        *,
        queue_us: tuple[int, int],
    ) -> Change:
        """Nothing is run again now: only what lies ahead is taken."""
        assert tracker.id is not None
        state, found = entry.state, []
        if ahead:
            taken = step(state, ahead, ground.settings_of(tracker.id), ground.fences)
            state, found = taken.state, [Held(one) for one in taken.found]
            if taken.retracted:
                queue_us = EARLIEST_US, max(queue_us[1], ahead[-1].at_us)
        change = mended(
            tracker, entry, state, ahead, superseded=[], added=found, redated=[], checkpoints=[], void_us=None
        )
        change.queue_us = queue_us
        return change

    async def _greet(
        self,
        connection: AsyncConnection[Any],
        taking: Taking,
        contacts: Mapping[Tracker, Any],
        now_us: int,
    ) -> None:
        """Those that were not online, and are now. Memory says who may be among them, the database who is: another
        process may have heard them first.
        """
        for tracker in contacts:
            if tracker.online or tracker.id is None or tracker.account_id is None or not tracker.contact_us:
                continue
            settings = self.settings_of(tracker)
            if now_us - tracker.contact_us > settings.offline_after_s * SECOND_US:
                continue  # heard long ago, and kept in quarantine until now
            taking.online.append(tracker)
        if not taking.online:
            return
        rows = await connection.execute(ONLINE, [Bigints([tracker.id for tracker in taking.online])])
        online = {device_id for device_id, is_online in await rows.fetchall() if is_online}
        for tracker in taking.online:
            if tracker.id is not None and tracker.id not in online:
                event = Event(EventType.DEVICE_ONLINE, tracker.contact_us, tracker.contact_us)
                taking.rows.events.append(Told(tracker.id, Held(event), self.place_of(tracker.id)))

    async def shift(self, connection: AsyncConnection[Any], change: Change) -> None:
        """Add to the totals of what came after a part that was run again."""
        if change.shift_us is not None:
            device, after = Bigints([change.tracker.id]), Moments([change.shift_us])
            odometer_mm, engine_us = Bigints([change.shift[0]]), Bigints([change.shift[1]])
            await connection.execute(SHIFT_CHECKPOINTS, [device, after, odometer_mm, engine_us])
            await connection.execute(SHIFT_TRIPS, [device, after, odometer_mm])

    def written(self, taking: Taking) -> tuple[list[LiteralString], list[Any], list[LiteralString]]:
        """Parts of the batch's last statement, their parameters, and what it answers for ``learn``."""
        made = parts(taking.rows)
        if self.paired is None or self.paired:
            made += touched(taking.changes, self.paired)
        return (
            [text for text, _ in made],
            [value for _, values in made for value in values],
            answers(taking.rows),
        )

    async def told(
        self, connection: AsyncConnection[Any], taking: Taking, ids: Sequence[list[int] | None], now: datetime
    ) -> None:
        """The rows are there: put in their ids, and tell of the events."""
        learn(taking.rows, ids)
        for change in taking.changes:
            if change.opened:
                change.entry.open |= {key: held.row for key, held in change.opened}
        if self.tell is None or not taking.rows.events:
            return
        names = self._fence_names(taking)
        events = [made for one in taking.rows.events if (made := self._alert(one, taking, names)) is not None]
        if events:
            await self.tell(connection, events, now)

    def _fence_names(self, taking: Taking) -> dict[int, str]:
        names: dict[int, str] = {}
        for one in taking.rows.events:
            fence_id = one.event.fence_id
            if fence_id is None or fence_id in names:
                continue
            ground = self.grounds.get(taking.owners[one.tracker_id].account_id or 0)
            fence = None if ground is None else ground.fences.by_id.get(fence_id)
            names[fence_id] = "" if fence is None else fence.name
        return names

    def _alert(self, one: Told, taking: Taking, names: Mapping[int, str]) -> AlertEvent | None:
        event, tracker = one.event, taking.owners[one.tracker_id]
        if tracker.account_id is None:
            return None
        return AlertEvent(
            id=one.held.row,
            device_id=one.tracker_id,
            account_id=tracker.account_id,
            unique_id=tracker.unique_id,
            name=tracker.name or tracker.unique_id,
            type=event.type.value,
            occurred_at=moment(event.occurred_us),
            fence_id=event.fence_id,
            fence=names.get(event.fence_id) if event.fence_id is not None else None,
            attributes=event.attributes,
            latitude=one.place[0] if one.place else None,
            longitude=one.place[1] if one.place else None,
        )

    # ------------------------------------------------------------------ after the commit

    def settle(self, taking: Taking) -> None:
        """It is committed: memory follows."""
        for change in taking.changes:
            assert change.tracker.id is not None
            self.entries[change.tracker.id] = change.entry
        self.forget(taking.failed)
        for tracker in taking.online:
            tracker.online = True
            self.came_online(tracker)

    async def flush(self, connection: AsyncConnection[Any]) -> int:
        """Keep all states as checkpoints, so that the next start has little to run; answers how many."""
        ready = {
            device_id: entry
            for device_id, entry in self.entries.items()
            if entry.pending and entry.state.seen_us is not None and entry.state.first is None
        }
        states = [entry.state for entry in ready.values()]
        await connection.execute(
            FLUSH,
            [
                Bigints(list(ready)),
                Moments([state.seen_us for state in states]),
                Bigints([state.seen_digest for state in states]),
                Bigints([state.totals.odometer_mm for state in states]),
                Bigints([state.totals.engine_us for state in states]),
                [state_bytes(state) for state in states],
                Bigints([entry.version for entry in ready.values()]),
            ],
        )
        return len(ready)


NO_MARK: Final = (None, None, None, None)


def mark_of(change: Change) -> tuple[int, int, int, int]:
    """Of a tracker that took something: the version that this follows, odometer, engine time, whether it moves."""
    state = change.entry.state
    totals = state.totals
    return change.expected, totals.odometer_mm, totals.engine_us, state.motion.phase in MOVING_PHASES


def fences_of(state: State) -> str:
    """The fences that a tracker is in, as PostgreSQL writes a bigint[]."""
    inside = sorted(fence_id for fence_id, side in state.sides.items() if side.position in WAS_IN)
    return f"{{{','.join(map(str, inside))}}}"
