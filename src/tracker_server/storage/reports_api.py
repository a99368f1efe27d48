"""What reports are made of, through the gate: events, trips, stops, visits, and the days on which there is something.

Events are of a moment; trips, stops and visits belong to a period that they overlap, however early they began.
All of them name the position that began or told them, where it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.model.people import IN_SCOPE, OTHERS_IN_SCOPE, Scope


class EventRow(Struct, frozen=True, gc=False):
    """Something that happened; ``attributes`` as JSON text. ``other_ids``: the other trackers that it tells of."""

    id: int
    device_id: int
    account_id: int
    type: str
    occurred_at: datetime
    fence_id: int | None
    attributes: str
    position_id: int | None
    other_ids: Sequence[int] = ()


class AlertRow(Struct, frozen=True, gc=False):
    """An event that somebody is to be told of, and in which words."""

    event_id: int
    sentence: str


class TripRow(Struct, frozen=True, gc=False):
    """A ride; ``ended_at`` None: it goes on, and the rest is as of ``decided_at``."""

    device_id: int
    started_at: datetime
    ended_at: datetime | None
    decided_at: datetime
    start_latitude: float
    start_longitude: float
    end_latitude: float
    end_longitude: float
    distance_mm: int
    odometer_start_mm: int
    speed_max_mps: float
    fuel_start: float | None
    fuel_end: float | None
    driver_unique_id: str | None
    start_position_id: int | None
    end_position_id: int | None


class StopRow(Struct, frozen=True, gc=False):
    """Standing; ``ended_at`` None: it lasts."""

    device_id: int
    started_at: datetime
    ended_at: datetime | None
    decided_at: datetime
    latitude: float
    longitude: float
    engine_us: int
    position_id: int | None


class VisitRow(Struct, frozen=True, gc=False):
    """The time in one geofence; ``left_at`` None: it is inside."""

    device_id: int
    fence_id: int
    fence: str
    entered_at: datetime
    left_at: datetime | None


class Standing(Struct, frozen=True, gc=False):
    """A tracker's newest fix up to a moment; ``odometer_m`` where that is its latest of all."""

    at: datetime
    latitude: float
    longitude: float
    position_id: int
    odometer_m: float | None


class Presence(Struct, frozen=True, gc=False):
    """The first and last fix of a tracker in one of the periods asked for."""

    device_id: int
    period: int
    first_at: datetime
    last_at: datetime


class Card(Struct, frozen=True):
    """A tracker that may be shown, as reports name it."""

    id: int
    unique_id: str
    name: str
    account_id: int


_POSITION: LiteralString = """
LEFT JOIN LATERAL (
    SELECT id FROM display.positions p
    WHERE p.device_id = x.device_id AND p.fixed_at = x.{at} AND p.digest = x.{digest} LIMIT 1
) {name} ON true
"""
_EVENT_POSITION: LiteralString = (
    _POSITION.replace("{at}", "occurred_at").replace("{digest}", "digest").replace("{name}", "p")
)
_EVENT: LiteralString = f"""
SELECT x.id, x.device_id, x.account_id, x.type, x.occurred_at, x.fence_id, x.attributes::text, p.id,
       coalesce(x.other_ids, '{{}}')
FROM display.events x {_EVENT_POSITION}
"""  # noqa: S608
EVENTS: LiteralString = f"""{_EVENT}
WHERE x.device_id = ANY(%(devices)s) AND x.occurred_at >= %(since)s AND x.occurred_at <= %(until)s AND NOT x.superseded
  AND (%(types)s::text[] IS NULL OR x.type = ANY(%(types)s)) AND {OTHERS_IN_SCOPE}
ORDER BY x.occurred_at, x.id LIMIT %(rows)s
"""
EVENTS_PAGE: LiteralString = f"""{_EVENT}
WHERE x.device_id = ANY(%(devices)s) AND x.occurred_at >= %(since)s AND x.occurred_at <= %(until)s AND NOT x.superseded
  AND (x.occurred_at, x.id) < (%(before)s, %(before_id)s)
  AND (%(types)s::text[] IS NULL OR x.type = ANY(%(types)s)) AND {OTHERS_IN_SCOPE}
ORDER BY x.occurred_at DESC, x.id DESC LIMIT %(rows)s
"""
EVENTS_NUMBERED: LiteralString = f"{_EVENT} WHERE x.id = ANY(%(ids)s) ORDER BY x.occurred_at, x.id"
ALERTS: LiteralString = """
SELECT event_id, coalesce(body, '') FROM display.alerts WHERE id = ANY(%(ids)s) AND event_id IS NOT NULL ORDER BY id
"""
LATEST: LiteralString = """
SELECT device_id, fixed_at, latitude, longitude, id, odometer_mm / 1000.0::float8 FROM display.latest
WHERE device_id = ANY(%(devices)s)
"""
NEWEST: LiteralString = """
SELECT fixed_at, latitude, longitude, id FROM display.positions
WHERE device_id = %(device)s AND fixed_at >= %(since)s AND fixed_at <= %(until)s AND valid
ORDER BY fixed_at DESC, digest DESC LIMIT 1
"""
_OVERLAPS: LiteralString = """
WHERE x.device_id = ANY(%(devices)s) AND x.started_at <= %(until)s AND (x.ended_at IS NULL OR x.ended_at >= %(since)s)
ORDER BY x.started_at, x.id LIMIT %(rows)s
"""
_STARTED: LiteralString = _POSITION.replace("{at}", "started_at").replace("{name}", "a")
_ENDED: LiteralString = _POSITION.replace("{at}", "ended_at").replace("{name}", "b")
TRIPS: LiteralString = f"""
SELECT x.device_id, x.started_at, x.ended_at, x.decided_at, x.start_latitude, x.start_longitude, x.end_latitude,
       x.end_longitude, x.distance_mm, x.odometer_start_mm, x.speed_max_mps, x.fuel_start, x.fuel_end, x.driver_unique_id,
       a.id, b.id
FROM display.trips x {_STARTED.replace("{digest}", "start_digest")} {_ENDED.replace("{digest}", "end_digest")} {_OVERLAPS}
"""  # noqa: S608
STOPS: LiteralString = f"""
SELECT x.device_id, x.started_at, x.ended_at, x.decided_at, x.latitude, x.longitude, x.engine_us, a.id
FROM display.stops x {_STARTED.replace("{digest}", "digest")} {_OVERLAPS}
"""  # noqa: S608
VISITS: LiteralString = """
SELECT device_id, fence_id, fence, entered_at, left_at FROM display.visits
WHERE device_id = ANY(%(devices)s) AND entered_at <= %(until)s AND (left_at IS NULL OR left_at >= %(since)s)
  AND (%(fences)s::bigint[] IS NULL OR fence_id = ANY(%(fences)s))
ORDER BY entered_at, device_id, fence_id LIMIT %(rows)s
"""
PRESENCE: LiteralString = """
SELECT d.id, (s.n - 1)::int, f.fixed_at, l.fixed_at
FROM unnest(%(devices)s::bigint[]) AS d (id)
CROSS JOIN unnest(%(begins)s::timestamptz[], %(ends)s::timestamptz[]) WITH ORDINALITY AS s (begins, ends, n)
CROSS JOIN LATERAL (
    SELECT fixed_at FROM display.positions p
    WHERE p.device_id = d.id AND p.fixed_at >= s.begins AND p.fixed_at < s.ends ORDER BY fixed_at LIMIT 1
) f
CROSS JOIN LATERAL (
    SELECT fixed_at FROM display.positions p
    WHERE p.device_id = d.id AND p.fixed_at >= s.begins AND p.fixed_at < s.ends ORDER BY fixed_at DESC LIMIT 1
) l
ORDER BY 1, 2
"""
CARDS: LiteralString = f"""
SELECT device_id, unique_id, name, account_id FROM (SELECT id AS device_id, unique_id, name, account_id FROM display.devices) d
WHERE {IN_SCOPE} ORDER BY name, device_id
"""  # noqa: S608
BLOCKED: LiteralString = f"""
SELECT count(*) FROM display.management
WHERE state <> 'active' AND {IN_SCOPE} AND (%(devices)s::bigint[] IS NULL OR device_id = ANY(%(devices)s))
"""  # noqa: S608


async def events_of(
    connection: AsyncConnection[Any],
    scope: Scope,
    device_ids: Sequence[int],
    since: datetime,
    until: datetime,
    *,
    types: Sequence[str] | None = None,
    rows_max: int,
) -> list[EventRow]:
    """What happened, both ends included, by time; at most ``rows_max``. All readers here speak as ``Role.DISPLAY``.

    ``device_ids`` are of the scope; an event that tells of a tracker beyond it is left out.
    """
    asked = {
        **scope.parameters(),
        "devices": list(device_ids),
        "since": since,
        "until": until,
        "types": None if types is None else list(types),
        "rows": rows_max,
    }
    return [EventRow(*row) for row in await _rows(connection, EVENTS, asked)]


async def events_before(
    connection: AsyncConnection[Any],
    scope: Scope,
    device_ids: Sequence[int],
    period: tuple[datetime, datetime],
    before: tuple[datetime, int],
    *,
    types: Sequence[str] | None,
    rows_max: int,
) -> list[EventRow]:
    """As ``events_of``, newest first, and only what came before an event (its moment and number)."""
    asked = {
        **scope.parameters(),
        "devices": list(device_ids),
        "since": period[0],
        "until": period[1],
        "before": before[0],
        "before_id": before[1],
        "types": None if types is None else list(types),
        "rows": rows_max,
    }
    return [EventRow(*row) for row in await _rows(connection, EVENTS_PAGE, asked)]


async def events_numbered(connection: AsyncConnection[Any], ids: Sequence[int]) -> list[EventRow]:
    """Events by number, superseded ones too, of whatever tracker that is shown."""
    return [EventRow(*row) for row in await _rows(connection, EVENTS_NUMBERED, {"ids": list(ids)})]


async def alerts_numbered(connection: AsyncConnection[Any], ids: Sequence[int]) -> list[AlertRow]:
    """Alerts by number, in their order, as far as they are shown."""
    found = await connection.execute(ALERTS, {"ids": list(ids)})
    return [AlertRow(*row) for row in await found.fetchall()]


async def trips_of(
    connection: AsyncConnection[Any],
    device_ids: Sequence[int],
    since: datetime,
    until: datetime,
    rows_max: int,
) -> list[TripRow]:
    """Trips that touch the period, by their start."""
    asked = {"devices": list(device_ids), "since": since, "until": until, "rows": rows_max}
    return [TripRow(*row) for row in await _rows(connection, TRIPS, asked)]


async def stops_of(
    connection: AsyncConnection[Any],
    device_ids: Sequence[int],
    since: datetime,
    until: datetime,
    rows_max: int,
) -> list[StopRow]:
    """Stops that touch the period, by their start."""
    asked = {"devices": list(device_ids), "since": since, "until": until, "rows": rows_max}
    return [StopRow(*row) for row in await _rows(connection, STOPS, asked)]


async def standing_of(
    connection: AsyncConnection[Any], begun: Mapping[int, datetime], until: datetime
) -> dict[int, Standing]:
    """How far what goes on has come by ``until``; ``begun``: since when, of each tracker."""
    found: dict[int, Standing] = {}
    for device_id, *rest in await _rows(connection, LATEST, {"devices": list(begun)}):
        found[device_id] = Standing(*rest)
    for device_id, since in begun.items():
        latest = found.get(device_id)
        if latest is None or latest.at <= until:
            continue
        rows = await _rows(connection, NEWEST, {"device": device_id, "since": since, "until": until})
        if rows:
            at, latitude, longitude, number = rows[0]
            found[device_id] = Standing(at, latitude, longitude, number, None)
        else:
            del found[device_id]
    return found


async def visits_of(
    connection: AsyncConnection[Any],
    device_ids: Sequence[int],
    since: datetime,
    until: datetime,
    *,
    fence_ids: Sequence[int] | None,
    rows_max: int,
) -> list[VisitRow]:
    """Visits that touch the period, by their beginning."""
    asked = {
        "devices": list(device_ids),
        "since": since,
        "until": until,
        "fences": None if fence_ids is None else list(fence_ids),
        "rows": rows_max,
    }
    return [VisitRow(*row) for row in await _rows(connection, VISITS, asked)]


async def presence_of(
    connection: AsyncConnection[Any],
    device_ids: Sequence[int],
    begins: Sequence[datetime],
    ends: Sequence[datetime],
) -> list[Presence]:
    """First and last fix of each tracker in each period (begin included, end not); nothing where there is none."""
    asked = {"devices": list(device_ids), "begins": list(begins), "ends": list(ends)}
    return [Presence(*row) for row in await _rows(connection, PRESENCE, asked)]


async def cards_of(connection: AsyncConnection[Any], scope: Scope) -> list[Card]:
    """The trackers of this scope that may be shown, by name."""
    return [Card(*row) for row in await _rows(connection, CARDS, scope.parameters())]


async def blocked_in(
    connection: AsyncConnection[Any], scope: Scope, device_ids: Iterable[int] | None = None
) -> int:
    """How many trackers of this scope (and of these) are hidden: what a total leaves out has to be said."""
    devices = None if device_ids is None else list(device_ids)
    rows = await _rows(connection, BLOCKED, {**scope.parameters(), "devices": devices})
    return rows[0][0]


async def _rows(
    connection: AsyncConnection[Any], statement: LiteralString, parameters: dict[str, Any]
) -> list[Any]:
    return await (await connection.execute(statement, parameters, binary=True)).fetchall()


async def zones_of(connection: AsyncConnection[Any], account_ids: Sequence[int]) -> dict[int, str]:
    """The zone in which each account's days begin. ``Role.CORE``: it is no tracker's secret."""
    found = await connection.execute(
        "SELECT id, zone FROM core.accounts WHERE id = ANY(%s)", [list(account_ids)]
    )
    return dict(await found.fetchall())


async def driver_names(
    connection: AsyncConnection[Any], pairs: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], str]:
    """Names of drivers by account and unique id. ``Role.CORE``: people wrote them down."""
    found = await connection.execute(
        "SELECT d.account_id, d.unique_id, d.name FROM core.drivers d"
        " JOIN unnest(%s::bigint[], %s::text[]) AS w (account_id, unique_id) USING (account_id, unique_id)",
        [[account for account, _ in pairs], [driver for _, driver in pairs]],
    )
    return {(account_id, unique_id): name for account_id, unique_id, name in await found.fetchall()}


async def groups_devices(connection: AsyncConnection[Any], group_ids: Sequence[int]) -> frozenset[int]:
    """The trackers in these groups, and in groups within them. ``Role.CORE``; hold it to a scope."""
    found = await connection.execute(
        "WITH RECURSIVE g AS (SELECT id FROM core.groups WHERE id = ANY(%s)"
        " UNION SELECT c.id FROM core.groups c JOIN g ON c.group_id = g.id)"
        " SELECT d.id FROM core.devices d JOIN g ON d.group_id = g.id WHERE d.removed_at IS NULL",
        [list(group_ids)],
    )
    return frozenset(device_id for (device_id,) in await found.fetchall())
