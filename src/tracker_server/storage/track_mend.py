"""Histories from the database: the state of a tracker as it stands there, and a part of its history run again.

A run goes from the last checkpoint before what is new until everything is as it was, or until it has taken as many
reports as it may; then the rest waits in ``core.track_queue``, and begins where this run ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, LiteralString

import msgspec
import structlog
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from tracker_server.model.event import Finding, moment
from tracker_server.pipeline.batch import micros
from tracker_server.pipeline.track_book import STOP, TRIP, VISIT, Entry, Ground, Held, OpenKey
from tracker_server.storage.copy_rows import Bigints, Moments
from tracker_server.storage.track_rows import (
    NOT_OF_A_RUN,
    CheckpointError,
    checkpoint_of,
    event_of,
    stop_of,
    trip_of,
    visit_of,
)
from tracker_server.track.engine import step
from tracker_server.track.observation import Observation, arranged
from tracker_server.track.replay import CHECKPOINT_EVERY, Checkpoint, replay
from tracker_server.track.state import State, earliest_us

log = structlog.get_logger(__name__)

# reports after the last checkpoint that a tracker's state is made from when it is met first; more than that means that
# a history of its own is to be run, and the tracker begins without it
LOAD_REPORTS_MAX: Final = 1_000
NEW: Final = State()  # of whoever has not reported yet: a state is copied before it is changed
EARLIEST_US: Final = 0  # nothing is stored from before 2000

LAST: LiteralString = """
SELECT s.device_id, s.track_version, c.at, c.digest, c.odometer_mm, c.engine_us, c.state
FROM core.device_state s
LEFT JOIN LATERAL (
    SELECT at, digest, odometer_mm, engine_us, state FROM core.track_checkpoints WHERE device_id = s.device_id ORDER BY at DESC LIMIT 1
) c ON true
WHERE s.device_id = ANY(%s)
"""
POSITIONS: LiteralString = "fixed_at AS at, digest, received_at, latitude, longitude, valid, speed_mps, course_deg, accuracy_m, attributes"
TELEMETRY: LiteralString = "sent_at AS at, digest, received_at, NULL::float8, NULL::float8, true, NULL::real, NULL::real, NULL::real, attributes"
AFTER_ALL: LiteralString = f"""
SELECT u.device_id, r.* FROM unnest(%(ids)s, %(at)s, %(digests)s) AS u (device_id, after_at, after_digest)
CROSS JOIN LATERAL (
    (SELECT {POSITIONS} FROM core.positions WHERE device_id = u.device_id AND fixed_at >= %(first)s AND fixed_at >= u.after_at
     AND (fixed_at, digest) > (u.after_at, u.after_digest) ORDER BY fixed_at DESC, digest DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT {TELEMETRY} FROM core.telemetry WHERE device_id = u.device_id AND sent_at >= %(first)s AND sent_at >= u.after_at
     AND (sent_at, digest) > (u.after_at, u.after_digest) ORDER BY sent_at DESC, digest DESC LIMIT %(limit)s)
) r
"""  # noqa: S608
WINDOW: LiteralString = f"""
(SELECT {POSITIONS} FROM core.positions WHERE device_id = %(id)s AND fixed_at >= %(at)s AND fixed_at <= %(until)s
 AND (fixed_at, digest) > (%(at)s, %(digest)s) ORDER BY fixed_at, digest LIMIT %(limit)s)
UNION ALL
(SELECT {TELEMETRY} FROM core.telemetry WHERE device_id = %(id)s AND sent_at >= %(at)s AND sent_at <= %(until)s
 AND (sent_at, digest) > (%(at)s, %(digest)s) ORDER BY sent_at, digest LIMIT %(limit)s)
"""  # noqa: S608
OPEN: LiteralString = """
SELECT device_id, id, 0, started_at, start_digest, odometer_start_mm, fuel_start FROM core.trips
WHERE device_id = ANY(%(ids)s) AND ended_at IS NULL AND superseded_at IS NULL
UNION ALL SELECT device_id, id, 1, started_at, digest, 0, NULL FROM core.stops
WHERE device_id = ANY(%(ids)s) AND ended_at IS NULL AND superseded_at IS NULL
UNION ALL SELECT device_id, id, 2, entered_at, fence_id, 0, NULL FROM core.visits
WHERE device_id = ANY(%(ids)s) AND left_at IS NULL AND superseded_at IS NULL
"""
CHECKPOINTS: LiteralString = "at, digest, odometer_mm, engine_us, state"
# where retention has dropped what was before it, the run begins at the floor, however late a report is
BEFORE: LiteralString = f"""
(SELECT {CHECKPOINTS} FROM core.track_checkpoints WHERE device_id = %(id)s AND at < %(at)s ORDER BY at DESC LIMIT 1)
UNION ALL (SELECT {CHECKPOINTS} FROM core.track_checkpoints WHERE device_id = %(id)s AND floor ORDER BY at DESC LIMIT 1)
ORDER BY at DESC LIMIT 1
"""  # noqa: S608
LATER: LiteralString = f"""
SELECT {CHECKPOINTS} FROM core.track_checkpoints WHERE device_id = %s AND at > %s AND at <= %s ORDER BY at
"""  # noqa: S608
KNOWN_EVENTS = """
SELECT id, type, occurred_at, decided_at, fence_id, digest, attributes FROM core.events
WHERE device_id = %(id)s AND decided_at > %(after)s AND decided_at <= %(until)s AND occurred_at >= %(first)s
  AND occurred_at <= %(until)s AND NOT superseded AND type <> ALL(%(others)s)
"""
KNOWN_TRIPS = """
SELECT * FROM core.trips WHERE device_id = %(id)s AND decided_at > %(after)s AND decided_at <= %(until)s
  AND ended_at IS NOT NULL AND superseded_at IS NULL
"""
KNOWN_STOPS = """
SELECT * FROM core.stops WHERE device_id = %(id)s AND decided_at > %(after)s AND decided_at <= %(until)s
  AND ended_at IS NOT NULL AND superseded_at IS NULL
"""
KNOWN_VISITS = """
SELECT * FROM core.visits WHERE device_id = %(id)s AND decided_at > %(after)s AND decided_at <= %(until)s
  AND left_at IS NOT NULL AND superseded_at IS NULL
"""
HISTORY_END_US: Final = micros(moment(0).replace(year=2200))


class Loaded(Struct):
    """A tracker's state as the database has it. ``queue_us``: its history is to be run from there, for what is here is
    not made from all of it.
    """

    entry: Entry
    queue_us: int | None = None


class Mended(Struct):
    """What a run changes. ``until_us``: after it nothing changes but the totals, by ``shift``; None: the run came to the
    end of what is stored, and ``state`` is the state there. ``rest_us``: it was cut off, and goes on from there.
    """

    superseded: list[Held]
    added: list[Held]
    redated: list[Held]
    checkpoints: list[Checkpoint]
    void_us: tuple[int, int]
    until_us: int | None
    shift: tuple[int, int]
    state: State | None
    rest_us: int | None
    window: list[Observation]


def seen_of(row: Sequence[Any]) -> Observation:
    """The observation that a row of ``POSITIONS`` or ``TELEMETRY`` is. Rows are read in binary format, so that a real
    is the same number as when it was stored.
    """
    at, digest, received_at, latitude, longitude, valid, speed_mps, course_deg, accuracy_m, attributes = row
    return Observation(
        micros(at), digest, micros(received_at), latitude, longitude, valid, speed_mps, course_deg, accuracy_m,
        attributes,
    )  # fmt: skip


async def load(
    connection: AsyncConnection[Any],
    ids: Sequence[int],
    grounds: dict[int, Ground],
    but: set[tuple[int, int, int]],
) -> dict[int, Loaded]:
    """The states of these trackers; ``grounds`` by tracker. ``but``: (tracker, moment, digest) of reports that are stored
    and not yet taken.
    """
    set_json_loads(msgspec.json.decode, connection)
    found: dict[int, Loaded] = {}
    begin: dict[int, Checkpoint | None] = {}
    rows = await connection.execute(LAST, [list(ids)], binary=True)
    for device_id, version, at, _, odometer_mm, engine_us, data in await rows.fetchall():
        begin[device_id] = _checkpoint(device_id, at, odometer_mm, engine_us, data)
        found[device_id] = Loaded(Entry(version, NEW))
    reports = await _after(connection, begin)
    for device_id, loaded in found.items():
        start, new = begin[device_id], reports.get(device_id, [])
        entry = loaded.entry
        cut = len(new) > LOAD_REPORTS_MAX
        if cut:
            loaded.queue_us = EARLIEST_US if start is None else start.at_us
            new = new[-LOAD_REPORTS_MAX:]
        elif start is not None:
            entry.state, entry.checkpoint_us = start.state, start.at_us
        taken = [seen for seen in new if (device_id, seen.at_us, seen.digest) not in but]
        ground = grounds[device_id]
        if taken:
            entry.state = step(entry.state, taken, ground.settings_of(device_id), ground.fences).state
        # so that trackers which were met at once do not make their checkpoints at once
        entry.pending = max(len(taken), device_id % CHECKPOINT_EVERY)
    rows = await connection.execute(OPEN, {"ids": list(ids)}, binary=True)
    for device_id, row, kind, began_at, *more in await rows.fetchall():
        key: OpenKey = ((TRIP, STOP, VISIT)[kind], micros(began_at), *more)
        found[device_id].entry.open[key] = row
    return found


def _checkpoint(device_id: int, at: Any, odometer_mm: int, engine_us: int, data: bytes) -> Checkpoint | None:
    if at is None:
        return None
    try:
        return checkpoint_of(micros(at), odometer_mm, engine_us, data)
    except CheckpointError as error:
        log.warning(
            "a checkpoint cannot be read; history is run from before it",
            device_id=device_id,
            error=str(error),
        )
        return None


async def _after(
    connection: AsyncConnection[Any], begin: dict[int, Checkpoint | None]
) -> dict[int, list[Observation]]:
    """The newest reports after these checkpoints, in order; one more than may be taken tells that there are more."""
    at = {device_id: EARLIEST_US if one is None else one.at_us for device_id, one in begin.items()}
    digests = [-(2**63) if one is None else one.state.seen_digest for one in begin.values()]
    values = {
        "ids": Bigints(list(at)),
        "at": Moments(list(at.values())),
        "digests": Bigints(digests),
        "first": moment(min(at.values())),
        "limit": LOAD_REPORTS_MAX + 1,
    }
    found: dict[int, list[Observation]] = {}
    rows = await connection.execute(AFTER_ALL, values, binary=True)
    for device_id, *row in await rows.fetchall():
        found.setdefault(device_id, []).append(seen_of(row))
    return {device_id: arranged(seen) for device_id, seen in found.items()}


async def mend(
    connection: AsyncConnection[Any],
    device_id: int,
    ground: Ground,
    touched_us: tuple[int, int],
    *,
    reports_max: int,
) -> Mended:
    """Run a tracker's history again from before ``touched_us[0]``, at least through ``touched_us[1]``, and take at most
    ``reports_max`` reports (twice as many, where that is not enough to come to a place where it can be cut off).
    """
    set_json_loads(msgspec.json.decode, connection)
    settings, fences = ground.settings_of(device_id), ground.fences
    while True:
        start = await before(connection, device_id, touched_us[0])
        window, cut = await reports_after(connection, device_id, start, reports_max)
        end_us = window[-1].at_us if cut else HISTORY_END_US
        start_us = EARLIEST_US - 1 if start is None else start.at_us
        later = await _later(connection, device_id, start_us, end_us)
        known = await _known(connection, device_id, start, end_us)
        done = replay(
            start, window, [one.finding for one in known], later, settings, fences, touched_us=touched_us[1]
        )
        end = done.state
        if cut and done.until_us is None and (end is None or end.first is not None or end.seen_us is None):
            reports_max *= 2  # the very first fix may still be taken back: go on until it is known
            continue
        break
    by_finding = {id(held.finding): held for held in known}
    checkpoints = list(done.checkpoints)
    rest_us = None
    if cut and done.until_us is None and end is not None and end.seen_us is not None:
        checkpoints.append(Checkpoint(end.seen_us, end))
        rest_us = end_us + 1
    until_us = done.until_us if done.until_us is not None else end_us
    return Mended(
        superseded=[by_finding[id(one)] for one in done.superseded],
        added=[Held(one) for one in done.added],
        redated=[Held(now, by_finding[id(before)].row) for before, now in done.redated],
        checkpoints=checkpoints,
        void_us=(start_us + 1, until_us),
        until_us=done.until_us,
        shift=(done.odometer_mm, done.engine_us),
        state=None if cut else done.state,
        rest_us=rest_us,
        window=window,
    )


async def before(connection: AsyncConnection[Any], device_id: int, at_us: int) -> Checkpoint | None:
    """The last checkpoint before a moment; where nothing is kept of the time before it, the first that there is."""
    rows = await connection.execute(BEFORE, {"id": device_id, "at": moment(at_us)}, binary=True)
    row = await rows.fetchone()
    return None if row is None else _checkpoint(device_id, row[0], *row[2:])


async def _later(
    connection: AsyncConnection[Any], device_id: int, after_us: int, until_us: int
) -> list[Checkpoint]:
    rows = await connection.execute(LATER, [device_id, moment(after_us), moment(until_us)], binary=True)
    made = [_checkpoint(device_id, row[0], *row[2:]) for row in await rows.fetchall()]
    return [one for one in made if one is not None]


async def reports_after(
    connection: AsyncConnection[Any], device_id: int, start: Checkpoint | None, reports_max: int
) -> tuple[list[Observation], bool]:
    """The reports after a checkpoint, and whether there are more: then the last moment in it is whole."""
    values = {
        "id": device_id,
        "at": moment(EARLIEST_US if start is None else start.at_us),
        "digest": -(2**63) if start is None else start.state.seen_digest,
        "until": moment(HISTORY_END_US),
        "limit": reports_max + 1,
    }
    rows = await connection.execute(WINDOW, values, binary=True)
    reports = arranged(seen_of(row) for row in await rows.fetchall())
    if len(reports) <= reports_max:
        return reports, False
    first_left_us = reports[reports_max].at_us
    kept = [seen for seen in reports[:reports_max] if seen.at_us < first_left_us]
    if not kept:  # so many reports of one moment
        return await reports_after(connection, device_id, start, reports_max * 2)
    return kept, True


async def _known(
    connection: AsyncConnection[Any], device_id: int, start: Checkpoint | None, until_us: int
) -> list[Held]:
    values = {
        "id": device_id,
        "after": moment(EARLIEST_US - 1 if start is None else start.at_us),
        "until": moment(until_us),
        "first": moment(EARLIEST_US if start is None else max(earliest_us(start.state), EARLIEST_US)),
        "others": [kind.value for kind in NOT_OF_A_RUN],
    }
    found: list[tuple[Finding, int]] = []
    async with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        await cursor.execute(KNOWN_EVENTS, values)
        found += [(event_of(row), row["id"]) for row in await cursor.fetchall()]
        await cursor.execute(KNOWN_TRIPS, values)
        found += [(trip_of(row), row["id"]) for row in await cursor.fetchall()]
        await cursor.execute(KNOWN_STOPS, values)
        found += [(stop_of(row), row["id"]) for row in await cursor.fetchall()]
        await cursor.execute(KNOWN_VISITS, values)
        found += [(visit_of(row), row["id"]) for row in await cursor.fetchall()]
    found.sort(key=lambda one: one[0].decided_us)
    return [Held(finding, row) for finding, row in found]
