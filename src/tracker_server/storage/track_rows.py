"""What the track engine found, as rows: one statement for all that a batch found of all its trackers."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString

import msgspec
from msgspec import Struct

from tracker_server.model.event import Event, EventType, Finding, Place, Stop, Trip, Visit, moment
from tracker_server.pipeline.batch import micros
from tracker_server.pipeline.track_book import STOP, TRIP, VISIT, Change, Held
from tracker_server.storage.copy_rows import Bigints, Moments, json_text
from tracker_server.track.replay import Checkpoint
from tracker_server.track.state import State, shifted

# Told by clocks, by pairs of trackers or by commands: a second run of one tracker's history does not find them.
NOT_OF_A_RUN: Final = (
    EventType.DEVICE_ONLINE, EventType.DEVICE_OFFLINE, EventType.DEVICE_INACTIVE, EventType.DEVICE_UNKNOWN,
    EventType.PROXIMITY_ENTER, EventType.PROXIMITY_EXIT, EventType.UNACCOMPANIED_MOTION, EventType.COMMAND_RESULT,
    EventType.QUEUED_COMMAND_SENT, EventType.MEDIA,
)  # fmt: skip
NOT_THE_ENGINES: Final = ("suppressed",)  # attributes of events that others write

_PACK = msgspec.msgpack.Encoder()
_UNPACK = msgspec.msgpack.Decoder(State)
FORMAT: Final = b"\x01"
MOMENT_MIN_US: Final = -(2**53)  # what timestamptz takes with ease
MOMENT_MAX_US: Final = 2**57


class CheckpointError(Exception):
    """A checkpoint that this program cannot read: what was found from before it on has to be found anew."""


def state_bytes(state: State) -> bytes:
    """A state as ``core.track_checkpoints.state`` has it."""
    return FORMAT + zlib.compress(_PACK.encode(state), 1)


def checkpoint_of(at_us: int, odometer_mm: int, engine_us: int, data: bytes) -> Checkpoint:
    """A checkpoint, with the totals that stand beside it. Raises CheckpointError."""
    try:
        if data[:1] != FORMAT:
            raise CheckpointError(f"format {data[:1]!r}")
        state = _UNPACK.decode(zlib.decompress(data[1:]))
    except (zlib.error, msgspec.DecodeError) as error:
        raise CheckpointError(str(error)) from error
    more = odometer_mm - state.totals.odometer_mm, engine_us - state.totals.engine_us
    return Checkpoint(at_us, shifted(state, *more) if any(more) else state)


# ------------------------------------------------------------------------------------------------- statements

NEW_EVENTS: LiteralString = """new_events AS (
    INSERT INTO core.events (device_id, type, occurred_at, decided_at, fence_id, digest, latitude, longitude, attributes)
    SELECT device_id, type, occurred_at, decided_at, fence_id, digest, latitude, longitude, attributes::jsonb
    FROM unnest(%s, %s::text[], %s, %s, %s, %s, %s::float8[], %s::float8[], %s::text[])
        AS e (device_id, type, occurred_at, decided_at, fence_id, digest, latitude, longitude, attributes)
    RETURNING id
)"""
NEW_TRIPS: LiteralString = """new_trips AS (
    INSERT INTO core.trips (device_id, started_at, ended_at, decided_at, start_latitude, start_longitude, start_digest,
        end_latitude, end_longitude, end_digest, distance_mm, odometer_start_mm, speed_max_mps, fuel_start, fuel_end, driver_unique_id)
    SELECT * FROM unnest(%s, %s, %s, %s, %s::float8[], %s::float8[], %s, %s::float8[], %s::float8[], %s, %s, %s, %s::float8[],
        %s::float8[], %s::float8[], %s::text[])
    RETURNING id
)"""
NEW_STOPS: LiteralString = """new_stops AS (
    INSERT INTO core.stops (device_id, started_at, ended_at, decided_at, latitude, longitude, digest, engine_us)
    SELECT * FROM unnest(%s, %s, %s, %s, %s::float8[], %s::float8[], %s, %s)
    RETURNING id
)"""
NEW_VISITS: LiteralString = """new_visits AS (
    INSERT INTO core.visits (device_id, fence_id, entered_at, left_at, decided_at)
    SELECT v.* FROM unnest(%s, %s, %s, %s, %s) AS v (device_id, fence_id, entered_at, left_at, decided_at)
    RETURNING id
)"""
GONE_EVENTS: LiteralString = """gone_events AS (
    UPDATE core.events SET superseded = true, superseded_at = now()
    WHERE id = ANY(%s) AND device_id = ANY(%s) AND occurred_at >= %s AND occurred_at <= %s
)"""
REDATED_EVENTS: LiteralString = """redated_events AS (
    UPDATE core.events e SET decided_at = u.decided_at FROM unnest(%s, %s) AS u (id, decided_at)
    WHERE e.id = u.id AND e.device_id = ANY(%s) AND e.occurred_at >= %s AND e.occurred_at <= %s
)"""
CHECKPOINTS: LiteralString = """checkpoints AS (
    INSERT INTO core.track_checkpoints (device_id, at, digest, odometer_mm, engine_us, state)
    SELECT * FROM unnest(%s, %s, %s, %s, %s, %s::bytea[])
    ON CONFLICT (device_id, at) DO UPDATE SET digest = excluded.digest, odometer_mm = excluded.odometer_mm,
        engine_us = excluded.engine_us, state = excluded.state, stored_at = now()
)"""
QUEUED: LiteralString = """queued AS (
    INSERT INTO core.track_queue AS q (device_id, from_at, until_at) SELECT * FROM unnest(%s, %s, %s)
    ON CONFLICT (device_id) DO UPDATE SET from_at = least(q.from_at, excluded.from_at),
        until_at = greatest(q.until_at, excluded.until_at)
)"""
# but those that are written anew: one statement cannot delete a row and write it
VOID: LiteralString = """void AS (
    DELETE FROM core.track_checkpoints c USING unnest(%s, %s, %s) AS u (device_id, from_at, until_at)
    WHERE c.device_id = u.device_id AND c.at >= u.from_at AND c.at <= u.until_at
      AND NOT EXISTS (SELECT FROM unnest(%s, %s) AS n (device_id, at) WHERE n.device_id = c.device_id AND n.at = c.at)
)"""
SHIFT_CHECKPOINTS = """
UPDATE core.track_checkpoints c SET odometer_mm = c.odometer_mm + u.odometer_mm, engine_us = c.engine_us + u.engine_us
FROM unnest(%s, %s, %s, %s) AS u (device_id, after_at, odometer_mm, engine_us)
WHERE c.device_id = u.device_id AND c.at > u.after_at
"""
SHIFT_TRIPS = """
UPDATE core.trips t SET odometer_start_mm = t.odometer_start_mm + u.odometer_mm
FROM unnest(%s, %s, %s) AS u (device_id, after_at, odometer_mm)
WHERE t.device_id = u.device_id AND t.decided_at > u.after_at AND t.superseded_at IS NULL
"""


def gone_intervals(table: LiteralString) -> LiteralString:
    """The part that supersedes rows of ``trips``, ``stops`` or ``visits``."""
    return f"gone_{table} AS (UPDATE core.{table} SET superseded_at = now() WHERE id = ANY(%s) AND superseded_at IS NULL)"  # noqa: S608


def redated_intervals(table: LiteralString) -> LiteralString:
    """The part that says that rows were sure at another moment."""
    return f"""redated_{table} AS (
        UPDATE core.{table} t SET decided_at = u.decided_at FROM unnest(%s, %s) AS u (id, decided_at) WHERE t.id = u.id
    )"""  # noqa: S608


class Told(Struct, eq=False):
    """An event to be stored and told: whose, and where it was."""

    tracker_id: int
    held: Held
    place: tuple[float, float] | None

    @property
    def event(self) -> Event:
        """The finding."""
        assert isinstance(self.held.finding, Event)
        return self.held.finding


Owned = tuple[int, Held]


class Rows(Struct):
    """All that a batch writes of what was found."""

    events: list[Told] = msgspec.field(default_factory=list)
    trips: list[Owned] = msgspec.field(default_factory=list)
    stops: list[Owned] = msgspec.field(default_factory=list)
    visits: list[Owned] = msgspec.field(default_factory=list)
    gone: list[Owned] = msgspec.field(default_factory=list)
    closed: list[tuple[int, int]] = msgspec.field(default_factory=list)  # TRIP, STOP or VISIT, and the row
    redated: list[Owned] = msgspec.field(default_factory=list)
    checkpoints: list[tuple[int, Checkpoint]] = msgspec.field(default_factory=list)
    void: list[tuple[int, int, int]] = msgspec.field(default_factory=list)
    queued: list[tuple[int, int, int]] = msgspec.field(default_factory=list)

    def add(self, change: Change) -> None:
        """One tracker's share."""
        tracker_id = change.tracker.id
        assert tracker_id is not None
        if change.added or change.opened:
            places: dict[tuple[int, int], tuple[float, float]] | None = None
            for held in (*change.added, *(held for _, held in change.opened)):
                if isinstance(held.finding, Event) and places is None:
                    places = change.places()
                self._put(tracker_id, held, places or {}, change.entry.state)
        if change.superseded:
            self.gone += [(tracker_id, held) for held in change.superseded]
        if change.redated:
            self.redated += [(tracker_id, held) for held in change.redated]
        if change.closed:
            self.closed += [(key[0], row) for key, row in change.closed]
        if change.checkpoints:
            self.checkpoints += [(tracker_id, one) for one in change.checkpoints]
        if change.void_us is not None:
            begin, end = change.void_us
            self.void.append((tracker_id, max(begin, MOMENT_MIN_US), min(end, MOMENT_MAX_US)))
        if change.queue_us is not None:
            self.queued.append((tracker_id, *change.queue_us))

    def _put(
        self, tracker_id: int, held: Held, places: dict[tuple[int, int], tuple[float, float]], state: State
    ) -> None:
        match held.finding:
            case Event() as event:
                self.events.append(Told(tracker_id, held, _place(event, places, state)))
            case Trip():
                self.trips.append((tracker_id, held))
            case Stop():
                self.stops.append((tracker_id, held))
            case Visit():
                self.visits.append((tracker_id, held))


def _place(
    event: Event, places: dict[tuple[int, int], tuple[float, float]], state: State
) -> tuple[float, float] | None:
    if event.digest is not None:
        return places.get((event.occurred_us, event.digest))
    last = state.last
    if last is None or last.latitude is None or last.longitude is None:
        return None
    return last.latitude, last.longitude


Part = tuple[LiteralString, list[Any]]


def parts(rows: Rows) -> list[Part]:
    """The CTEs that write them, each with its parameters; ``learn`` puts in the ids that they answer."""
    out: list[Part] = []
    if rows.events:
        out.append((NEW_EVENTS, _events(rows.events)))
    if rows.trips:
        out.append((NEW_TRIPS, _trips(rows.trips)))
    if rows.stops:
        out.append((NEW_STOPS, _stops(rows.stops)))
    if rows.visits:
        out.append((NEW_VISITS, _visits(rows.visits)))
    out += _changed(rows)
    if rows.checkpoints:
        out.append((CHECKPOINTS, _checkpoints(rows.checkpoints)))
    if rows.void:
        devices, begin, end = zip(*rows.void, strict=True)
        new = [
            Bigints([owner for owner, _ in rows.checkpoints]),
            Moments([one.at_us for _, one in rows.checkpoints]),
        ]
        out.append((VOID, [Bigints(devices), Moments(begin), Moments(end), *new]))
    if rows.queued:
        devices, begin, end = zip(*rows.queued, strict=True)
        out.append((QUEUED, [Bigints(devices), Moments(begin), Moments(end)]))
    return out


ANSWERS: Final[tuple[tuple[str, LiteralString], ...]] = (
    ("events", "(SELECT array_agg(id ORDER BY id) FROM new_events)"),
    ("trips", "(SELECT array_agg(id ORDER BY id) FROM new_trips)"),
    ("stops", "(SELECT array_agg(id ORDER BY id) FROM new_stops)"),
    ("visits", "(SELECT array_agg(id ORDER BY id) FROM new_visits)"),
)


def answers(rows: Rows) -> list[LiteralString]:
    """What the statement answers: the ids of each kind in the order given, or NULL."""
    return [answer if getattr(rows, name) else "NULL" for name, answer in ANSWERS]


def learn(rows: Rows, ids: Sequence[list[int] | None]) -> None:
    """Put in the ids that the statement answered."""
    events, *others = ids
    for told, row in zip(rows.events, events or (), strict=True):
        told.held.row = row
    for owned, found in zip((rows.trips, rows.stops, rows.visits), others, strict=True):
        for (_, held), row in zip(owned, found or (), strict=True):
            held.row = row


def _changed(rows: Rows) -> list[Part]:
    out: list[Part] = []
    gone: dict[int, list[int]] = {TRIP: [], STOP: [], VISIT: []}
    for kind, row in rows.closed:
        gone[kind].append(row)
    events: list[tuple[int, Held]] = []
    redated: dict[int, list[Held]] = {TRIP: [], STOP: [], VISIT: []}
    moved: list[tuple[int, Held]] = []
    for owner, held in rows.gone:
        if isinstance(held.finding, Event):
            events.append((owner, held))
        else:
            gone[_kind(held.finding)].append(held.row)
    for owner, held in rows.redated:
        if isinstance(held.finding, Event):
            moved.append((owner, held))
        else:
            redated[_kind(held.finding)].append(held)
    tables: tuple[tuple[int, LiteralString], ...] = ((TRIP, "trips"), (STOP, "stops"), (VISIT, "visits"))
    for kind, table in tables:
        if gone[kind]:
            out.append((gone_intervals(table), [Bigints(gone[kind])]))
        if redated[kind]:
            held = redated[kind]
            out.append(
                (
                    redated_intervals(table),
                    [Bigints([one.row for one in held]), Moments([one.finding.decided_us for one in held])],
                )
            )
    if events:
        out.append((GONE_EVENTS, [Bigints([held.row for _, held in events]), *_bounds(events)]))
    if moved:
        decided = Moments([held.finding.decided_us for _, held in moved])
        out.append((REDATED_EVENTS, [Bigints([held.row for _, held in moved]), decided, *_bounds(moved)]))
    return out


def _kind(found: Finding) -> int:
    match found:
        case Trip():
            return TRIP
        case Stop():
            return STOP
        case _:
            return VISIT


def _bounds(events: Sequence[Owned]) -> list[Any]:
    """The devices, and the moments between which their events lie: so that no other partition is looked at."""
    moments = [held.finding.occurred_us for _, held in events if isinstance(held.finding, Event)]
    return [Bigints([owner for owner, _ in events]), moment(min(moments)), moment(max(moments))]


def _events(told: Sequence[Told]) -> list[Any]:
    events = [one.event for one in told]
    return [
        Bigints([one.tracker_id for one in told]),
        [event.type.value for event in events],
        Moments([event.occurred_us for event in events]),
        Moments([event.decided_us for event in events]),
        Bigints([event.fence_id for event in events]),
        Bigints([event.digest for event in events]),
        [one.place[0] if one.place else None for one in told],
        [one.place[1] if one.place else None for one in told],
        [json_text(event.attributes) for event in events],
    ]


def _column(owned: Sequence[Owned], get: Callable[[Any], Any]) -> list[Any]:
    return [get(held.finding) for _, held in owned]


def _places(owned: Sequence[Owned], get: Callable[[Any], Place]) -> list[Any]:
    places = [get(held.finding) for _, held in owned]
    return [
        [place.latitude for place in places],
        [place.longitude for place in places],
        Bigints([place.digest for place in places]),
    ]


def _trips(owned: Sequence[Owned]) -> list[Any]:
    return [
        Bigints([owner for owner, _ in owned]),
        Moments(_column(owned, lambda trip: trip.started_us)),
        Moments(_column(owned, lambda trip: trip.ended_us)),
        Moments(_column(owned, lambda trip: trip.decided_us)),
        *_places(owned, lambda trip: trip.start),
        *_places(owned, lambda trip: trip.end),
        Bigints(_column(owned, lambda trip: trip.distance_mm)),
        Bigints(_column(owned, lambda trip: trip.odometer_start_mm)),
        _column(owned, lambda trip: trip.speed_max_mps),
        _column(owned, lambda trip: trip.fuel_start),
        _column(owned, lambda trip: trip.fuel_end),
        _column(owned, lambda trip: trip.driver_unique_id),
    ]


def _stops(owned: Sequence[Owned]) -> list[Any]:
    return [
        Bigints([owner for owner, _ in owned]),
        Moments(_column(owned, lambda stop: stop.started_us)),
        Moments(_column(owned, lambda stop: stop.ended_us)),
        Moments(_column(owned, lambda stop: stop.decided_us)),
        *_places(owned, lambda stop: stop.place),
        Bigints(_column(owned, lambda stop: stop.engine_us)),
    ]


def _visits(owned: Sequence[Owned]) -> list[Any]:
    return [
        Bigints([owner for owner, _ in owned]),
        Bigints(_column(owned, lambda visit: visit.fence_id)),
        Moments(_column(owned, lambda visit: visit.entered_us)),
        Moments(_column(owned, lambda visit: visit.left_us)),
        Moments(_column(owned, lambda visit: visit.decided_us)),
    ]


def _checkpoints(made: Sequence[tuple[int, Checkpoint]]) -> list[Any]:
    # of two of one moment the later one holds
    last = {(owner, one.at_us): one for owner, one in made}
    states = [one.state for one in last.values()]
    return [
        Bigints([owner for owner, _ in last]),
        Moments([at_us for _, at_us in last]),
        Bigints([state.seen_digest for state in states]),
        Bigints([state.totals.odometer_mm for state in states]),
        Bigints([state.totals.engine_us for state in states]),
        [state_bytes(state) for state in states],
    ]


# ------------------------------------------------------------------------------------------------- reading back


def event_of(row: dict[str, Any]) -> Event:
    """The finding that a row of ``core.events`` is."""
    attributes = {name: value for name, value in row["attributes"].items() if name not in NOT_THE_ENGINES}
    return Event(
        EventType(row["type"]),
        micros(row["occurred_at"]),
        micros(row["decided_at"]),
        row["fence_id"],
        row["digest"],
        attributes,
    )


def trip_of(row: dict[str, Any]) -> Trip:
    """The finding that a row of ``core.trips`` is."""
    return Trip(
        micros(row["started_at"]),
        _micros(row["ended_at"]),
        micros(row["decided_at"]),
        Place(row["start_latitude"], row["start_longitude"], row["start_digest"]),
        Place(row["end_latitude"], row["end_longitude"], row["end_digest"]),
        row["distance_mm"],
        row["odometer_start_mm"],
        row["speed_max_mps"],
        row["fuel_start"],
        row["fuel_end"],
        row["driver_unique_id"],
    )


def stop_of(row: dict[str, Any]) -> Stop:
    """The finding that a row of ``core.stops`` is."""
    place = Place(row["latitude"], row["longitude"], row["digest"])
    return Stop(
        micros(row["started_at"]),
        _micros(row["ended_at"]),
        micros(row["decided_at"]),
        place,
        row["engine_us"],
    )


def visit_of(row: dict[str, Any]) -> Visit:
    """The finding that a row of ``core.visits`` is."""
    return Visit(
        row["fence_id"], micros(row["entered_at"]), _micros(row["left_at"]), micros(row["decided_at"])
    )


def _micros(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def days_of(rows: Rows) -> Iterable[int]:
    """The days, counted from 2000-01-01, of the events that are to be written."""
    return {told.event.occurred_us // 86_400_000_000 for told in rows.events}
