"""Pairs of trackers, right behind the batches: what a batch touched of a pair is noted in its transaction, and taken here.

A pair's history is taken again from the last mark before what was touched, of the fixes that the engine accepts, until it
stands as it did: so it comes out the same however the fixes arrived. What proves wrong is superseded, and what is new is
told as every event is.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from msgspec import Struct, field, structs
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from tracker_server.alerts.rules import AlertEvent
from tracker_server.model.event import SECOND_US, Event, EventType, Place, moment
from tracker_server.pipeline.batch import micros
from tracker_server.pipeline.track_book import Ground, Held
from tracker_server.storage.database import Database
from tracker_server.storage.maintenance import ensure_days
from tracker_server.storage.proximities import ProximityKind, ProximityRow, paired, proximities
from tracker_server.storage.queue_worker import work_off
from tracker_server.storage.track_grounds import read_ground
from tracker_server.storage.track_mend import HISTORY_END_US, before, reports_after
from tracker_server.storage.track_rows import Rows, Told, days_of, event_of, learn
from tracker_server.storage.track_store import Taking, TrackStage
from tracker_server.storage.track_tell import history_until
from tracker_server.track.engine import Mark, step
from tracker_server.track.fences.index import EMPTY
from tracker_server.track.observation import Observation
from tracker_server.track.proximity import Companion, Pair, PairMark, Sighting, rerun, unaccompanied
from tracker_server.track.replay import Checkpoint, compared
from tracker_server.track.state import State, copied

log = structlog.get_logger(__name__)

CHANNEL: Final = "tracker_proximity"
SLICE_REPORTS: Final = 2_000  # of each tracker in one transaction: some 50 ms; the rest is queued again
FAILED_S: Final = 600.0  # a pair that failed is tried again after this long
DAY_US: Final = 86_400_000_000
ZONE_EVENTS: Final = [EventType.PROXIMITY_ENTER.value, EventType.PROXIMITY_EXIT.value]
ALONE: Final = [EventType.UNACCOMPANIED_MOTION.value]

NEXT = "SELECT proximity_id FROM core.proximity_queue WHERE proximity_id <> ALL(%s) ORDER BY id LIMIT 1"
LOCK = "SELECT FROM core.proximities WHERE id = %s FOR NO KEY UPDATE"
TAKE = "DELETE FROM core.proximity_queue WHERE proximity_id = %s RETURNING from_at, until_at"
AGAIN = "INSERT INTO core.proximity_queue (proximity_id, from_at, until_at) VALUES (%s, %s, %s)"
MARK_BEFORE = """
SELECT at, state FROM core.proximity_marks WHERE proximity_id = %s AND at < %s ORDER BY at DESC LIMIT 1
"""
MARKS = (
    "SELECT at, state FROM core.proximity_marks WHERE proximity_id = %s AND at > %s AND at <= %s ORDER BY at"
)
VOID = "DELETE FROM core.proximity_marks WHERE proximity_id = %s AND at > %s AND at <= %s"
KEEP = """
INSERT INTO core.proximity_marks (proximity_id, at, state) SELECT %s, * FROM unnest(%s::timestamptz[], %s::bytea[])
ON CONFLICT (proximity_id, at) DO UPDATE SET state = excluded.state
"""
STANDS = "UPDATE core.proximities SET near = %s, run_at = %s WHERE id = %s"
KNOWN = """
SELECT id, type, occurred_at, decided_at, fence_id, digest, attributes FROM core.events
WHERE device_id = %(device)s AND type = ANY(%(types)s) AND NOT superseded
  AND decided_at > %(after)s AND decided_at <= %(decided)s AND occurred_at >= %(first)s AND occurred_at <= %(until)s
  AND (%(other)s::bigint IS NULL OR (attributes->>'other_id')::bigint = %(other)s)
ORDER BY decided_at, id
"""
MOVES = """
SELECT id, type, occurred_at, decided_at, fence_id, digest, attributes, latitude, longitude FROM core.events
WHERE device_id = %(device)s AND type = 'deviceMoving' AND NOT superseded
  AND decided_at > %(after)s AND occurred_at >= %(first)s AND occurred_at <= %(until)s AND latitude IS NOT NULL
ORDER BY decided_at, id
"""
WHO = "SELECT account_id, unique_id, coalesce(nullif(name, ''), unique_id) FROM core.devices WHERE id = %s"

_PACK = msgspec.msgpack.Encoder()
_UNPACK = msgspec.msgpack.Decoder(Pair)


class Outcome(Struct):
    """What a run changes. ``found``: each event that is new, and where."""

    superseded: list[Held] = field(default_factory=list)
    found: list[tuple[Event, Place]] = field(default_factory=list)
    redated: list[Held] = field(default_factory=list)


class _Seen(NamedTuple):
    """Accepted fixes, and the moment up to which they are all (None: there are no more)."""

    fixes: list[Observation]
    end_us: int | None


class ProximityQueue:
    """Runs beside the server; ``work`` takes one pair."""

    def __init__(
        self,
        database: Database,
        stage: TrackStage,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._stage = stage
        self._now = now
        self._failed: dict[int, float] = {}

    async def run(self) -> None:
        """Pair after pair, for as long as the server runs."""

        def deaf() -> None:
            self._stage.paired = None  # not heard of any more: the batches ask the database

        await work_off(self._database, CHANNEL, self._turn, deaf=deaf)

    async def _turn(self, connection: AsyncConnection[Any]) -> bool:
        self._stage.paired = await paired(connection)
        while await self.work(connection):
            pass
        return False

    async def work(self, connection: AsyncConnection[Any]) -> bool:
        """Take one pair; False where nothing waits."""
        now = time.monotonic()
        self._failed = {number: until for number, until in self._failed.items() if until > now}
        row = await (await connection.execute(NEXT, [list(self._failed)])).fetchone()
        if row is None:
            return False
        try:
            async with connection.transaction():
                await self._take(connection, row[0])
        except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError, zlib.error):
            log.exception("a pair of trackers cannot be taken; it is tried again", proximity=row[0])
            self._failed[row[0]] = now + FAILED_S
        return True

    async def _take(self, connection: AsyncConnection[Any], number: int) -> None:
        await connection.execute(LOCK, [number])
        rows = await (await connection.execute(TAKE, [number])).fetchall()
        found = await proximities(connection, ids=[number])
        if not rows or not found:
            return
        (pair,) = found
        ground = self._stage.grounds.get(pair.account_id)
        if ground is None:
            ground = await read_ground(connection, pair.account_id, self._stage.base)
        touched = micros(min(row[0] for row in rows)), micros(max(row[1] for row in rows))
        run = _zone if pair.kind == ProximityKind.ZONE else _companions
        outcome = await run(connection, pair, ground, touched)
        await self._write(connection, pair, outcome)

    async def _write(self, connection: AsyncConnection[Any], pair: ProximityRow, outcome: Outcome) -> None:
        owner = pair.device_id
        rows = Rows(
            events=[
                Told(owner, Held(event), (place.latitude, place.longitude)) for event, place in outcome.found
            ],
            gone=[(owner, held) for held in outcome.superseded],
            redated=[(owner, held) for held in outcome.redated],
        )
        if not (rows.events or rows.gone or rows.redated):
            return
        days = [moment(day * DAY_US).date() for day in days_of(rows)]
        if days:
            await ensure_days(connection, sorted(days))
        texts, values, answers = self._stage.written(Taking(rows=rows))
        statement = f"WITH {', '.join(texts)} SELECT {', '.join(answers)}"
        answered = await (await connection.execute(statement.encode(), values)).fetchone()
        assert answered is not None
        learn(rows, answered)
        if self._stage.tell is not None and rows.events:
            await self._stage.tell(connection, await _alerts(connection, pair, rows.events), self._now())


async def _alerts(
    connection: AsyncConnection[Any], pair: ProximityRow, told: Sequence[Told]
) -> list[AlertEvent]:
    """The events, with the other tracker's name for the sentence that tells of it."""
    one = await (await connection.execute(WHO, [pair.device_id])).fetchone()
    other = await (await connection.execute(WHO, [pair.other_id])).fetchone()
    assert one is not None
    assert other is not None
    account_id, unique_id, name = one
    more = {"other": other[2]} if pair.kind == ProximityKind.ZONE else {}
    return [
        AlertEvent(
            id=each.held.row,
            device_id=pair.device_id,
            account_id=account_id,
            unique_id=unique_id,
            name=name,
            type=each.event.type.value,
            occurred_at=moment(each.event.occurred_us),
            attributes={**each.event.attributes, **more},
            latitude=each.place[0] if each.place else None,
            longitude=each.place[1] if each.place else None,
        )
        for each in told
    ]


# ------------------------------------------------------------------------------------------------------- zones


async def _zone(
    connection: AsyncConnection[Any], pair: ProximityRow, ground: Ground, touched: tuple[int, int]
) -> Outcome:
    """Take the pair from the last mark before what was touched."""
    if touched[1] < pair.since_us:
        return Outcome()
    row = await (await connection.execute(MARK_BEFORE, [pair.id, moment(touched[0])])).fetchone()
    start = PairMark(pair.since_us - 1, Pair()) if row is None else _mark(row)
    one = await _accepted(connection, pair.device_id, ground, start.at_us)
    other = await _accepted(connection, pair.other_id, ground, start.at_us)
    cuts = [seen.end_us for seen in (one, other) if seen.end_us is not None]
    end_us = min(cuts, default=HISTORY_END_US)
    sightings = sorted(
        (Sighting(seen is one, fix) for seen in (one, other) for fix in seen.fixes if fix.at_us <= end_us),
        key=lambda sighting: sighting.turn,
    )
    later = await connection.execute(MARKS, [pair.id, moment(start.at_us), moment(end_us)])
    old = [_mark(found) for found in await later.fetchall()]
    done = rerun(start.pair, sightings, old, pair.zone, pair.other_id, touched_us=touched[1])
    marks = done.marks
    if done.until_us is None:
        if cuts:
            marks = [*marks, PairMark(end_us, done.pair)]
            rest = end_us + 1
            await connection.execute(AGAIN, [pair.id, moment(rest), moment(max(rest, touched[1]))])
        else:
            run_at = None if done.pair.run is None else moment(done.pair.run.at_us)
            await connection.execute(STANDS, [done.pair.near, run_at, pair.id])
    until_us = end_us if done.until_us is None else done.until_us
    await connection.execute(VOID, [pair.id, moment(start.at_us), moment(until_us)])
    states = [zlib.compress(_PACK.encode(mark.pair), 1) for mark in marks]
    if marks:
        await connection.execute(KEEP, [pair.id, [moment(mark.at_us) for mark in marks], states])
    first_us = start.at_us if start.pair.run is None else min(start.at_us, start.pair.run.at_us)
    known = await _known(
        connection, pair, ZONE_EVENTS, (start.at_us, until_us), (first_us, until_us), other_id=pair.other_id
    )
    return _outcome(known, [(meeting.event, meeting.place) for meeting in done.found])


def _without_fences(state: State | None) -> State:
    """To go on from: what fixes are accepted has nothing to do with fences, and there are none here."""
    out = State() if state is None else copied(state)
    out.sides, out.last_near = {}, ()
    return out


def _mark(row: Sequence[Any]) -> PairMark:
    return PairMark(micros(row[0]), _UNPACK.decode(zlib.decompress(row[1])))


async def _accepted(connection: AsyncConnection[Any], device_id: int, ground: Ground, after_us: int) -> _Seen:
    """The fixes of a tracker after a moment that the engine accepts as it takes them."""
    start = await before(connection, device_id, after_us + 1)
    fixes: list[Observation] = []
    while True:
        reports, cut = await reports_after(connection, device_id, start, SLICE_REPORTS)
        if not reports:
            return _Seen(fixes, None)
        marks: list[Mark] = []
        state = step(
            _without_fences(None if start is None else start.state),
            reports,
            ground.settings_of(device_id),
            EMPTY,
            marks,
        ).state
        fixes += [
            structs.replace(seen, attributes={})
            for seen, mark in zip(reports, marks, strict=True)
            if mark.place == "accepted" and seen.at_us > after_us
        ]
        if not cut:
            return _Seen(fixes, None)
        last_us = reports[-1].at_us
        if last_us > after_us:
            return _Seen(fixes, last_us)
        start = Checkpoint(last_us, state)


# -------------------------------------------------------------------------------------------------- companions


async def _companions(
    connection: AsyncConnection[Any], pair: ProximityRow, ground: Ground, touched: tuple[int, int]
) -> Outcome:
    """Look again at the moves that the touched fixes, of the tracker or of any companion, may have a say in."""
    companions = await proximities(connection, with_companions_of=pair.device_id)
    stale_us = round(max(one.stale_s for one in companions) * SECOND_US)
    since_us = min(one.since_us for one in companions)
    until_us = min(touched[1] + stale_us, HISTORY_END_US)
    values = {
        "device": pair.device_id,
        "after": moment(touched[0] - 1),
        "first": moment(since_us),
        "until": moment(until_us),
    }
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(MOVES, values)
        moves = await cursor.fetchall()
    found: list[tuple[Event, Place]] = []
    for row in moves:
        moving = event_of(row)
        place = Place(row["latitude"], row["longitude"], moving.digest or 0)
        beside: dict[int, Companion] = {}
        for one in companions:
            if one.since_us <= moving.occurred_us:
                fix = await _last_fix(connection, one.other_id, ground, row["occurred_at"])
                beside[one.other_id] = Companion(fix, one.zone)
        alone = unaccompanied(moving, place, beside)
        if alone is not None:
            found.append((alone, place))
    known = await _known(connection, pair, ALONE, (touched[0] - 1, HISTORY_END_US), (since_us, until_us))
    return _outcome(known, found)


async def _last_fix(
    connection: AsyncConnection[Any], device_id: int, ground: Ground, at: datetime
) -> Observation | None:
    """Where a tracker was at a moment: the last fix accepted by then."""
    state, reports = await history_until(connection, device_id, at)
    return step(_without_fences(state), reports, ground.settings_of(device_id), EMPTY).state.last


# ------------------------------------------------------------------------------------------------- their parts


async def _known(
    connection: AsyncConnection[Any],
    pair: ProximityRow,
    types: list[str],
    decided_us: tuple[int, int],
    occurred_us: tuple[int, int],
    *,
    other_id: int | None = None,
) -> list[Held]:
    """What stands of the first tracker: decided after the first moment and up to the second, happened between two."""
    values = {
        "device": pair.device_id,
        "types": types,
        "after": moment(decided_us[0]),
        "decided": moment(decided_us[1]),
        "first": moment(occurred_us[0]),
        "until": moment(occurred_us[1]),
        "other": other_id,
    }
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(KNOWN, values)
        return [Held(event_of(row), row["id"]) for row in await cursor.fetchall()]


def _outcome(known: Sequence[Held], found: Sequence[tuple[Event, Place]]) -> Outcome:
    rows = {id(held.finding): held for held in known}
    places = {id(event): place for event, place in found}
    superseded, added, redated = compared([held.finding for held in known], [event for event, _ in found])
    return Outcome(
        [rows[id(one)] for one in superseded],
        [(one, places[id(one)]) for one in added if isinstance(one, Event)],
        [Held(now, rows[id(was)].row) for was, now in redated],
    )
