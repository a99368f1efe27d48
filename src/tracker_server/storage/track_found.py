"""Reading what the track engine found: the customer's part through the gate, the operator's straight from the tables.

Events are of a moment; trips, stops and visits are answered where they overlap the period, however early they began.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, LiteralString

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

FETCH_ROWS = 2_000

EVENT_COLUMNS: Final[LiteralString] = (
    "id, device_id, unique_id, account_id, type, occurred_at, decided_at, stored_at, fence_id, fence, digest,"
    " latitude, longitude, attributes, superseded"
)
TRIP_COLUMNS: Final[LiteralString] = (
    "id, device_id, unique_id, account_id, started_at, ended_at, way_mm / 1000.0::float8 AS distance_m,"
    " odometer_start_mm / 1000.0::float8 AS odometer_start_m, speed_max_mps, fuel_start, fuel_end, driver_unique_id,"
    " start_latitude, start_longitude, start_digest, end_latitude, end_longitude, end_digest, decided_at, stored_at"
)
STOP_COLUMNS: Final[LiteralString] = (
    "id, device_id, unique_id, account_id, started_at, ended_at, latitude, longitude, digest,"
    " engine_us / 1000000.0::float8 AS engine_s, decided_at, stored_at"
)
VISIT_COLUMNS: Final[LiteralString] = (
    "id, device_id, unique_id, account_id, fence_id, fence, entered_at, left_at, decided_at, stored_at"
)


class Kind(StrEnum):
    """What can be read."""

    EVENTS = "events"
    TRIPS = "trips"
    STOPS = "stops"
    VISITS = "visits"


# of a trip that goes on: up to the newest report, where that may be seen
_WAY: Final[LiteralString] = (
    "CASE WHEN t.ended_at IS NULL THEN coalesce(greatest(s.odometer_mm - t.odometer_start_mm, 0), t.distance_mm)"
    " ELSE t.distance_mm END AS way_mm"
)
_DISPLAYED: Final[dict[Kind, LiteralString]] = {
    Kind.EVENTS: "display.events",
    Kind.TRIPS: (
        f"(SELECT t.*, {_WAY} FROM display.trips t LEFT JOIN display.device_marks s ON s.device_id = t.device_id) x"  # noqa: S608
    ),
    Kind.STOPS: "display.stops",
    Kind.VISITS: "display.visits",
}
_ALL: Final[dict[Kind, LiteralString]] = {
    Kind.EVENTS: "(SELECT e.*, d.unique_id, d.account_id, f.name AS fence FROM core.events e JOIN core.devices d ON d.id = e.device_id"
    " LEFT JOIN core.fences f ON f.id = e.fence_id) x",
    Kind.TRIPS: (
        f"(SELECT t.*, {_WAY}, d.unique_id, d.account_id FROM core.trips t JOIN core.devices d ON d.id = t.device_id"  # noqa: S608
        " JOIN core.device_state s ON s.device_id = d.id WHERE t.superseded_at IS NULL) x"
    ),
    Kind.STOPS: "(SELECT t.*, d.unique_id, d.account_id FROM core.stops t JOIN core.devices d ON d.id = t.device_id"
    " WHERE t.superseded_at IS NULL) x",
    Kind.VISITS: "(SELECT t.id, t.device_id, d.unique_id, d.account_id, t.fence_id, f.name AS fence, t.entered_at,"
    " coalesce(t.left_at, CASE WHEN f.until <= now() THEN greatest(f.until, t.entered_at) END) AS left_at, t.decided_at, t.stored_at"
    " FROM core.visits t JOIN core.devices d ON d.id = t.device_id JOIN core.fences f ON f.id = t.fence_id"
    " WHERE t.superseded_at IS NULL) x",
}
_READ: Final[dict[Kind, tuple[LiteralString, LiteralString]]] = {
    Kind.EVENTS: (
        EVENT_COLUMNS,
        (
            "(%(since)s::timestamptz IS NULL OR occurred_at >= %(since)s)"
            " AND (%(until)s::timestamptz IS NULL OR occurred_at < %(until)s)"
            " AND (%(superseded)s OR NOT superseded) AND (%(types)s::text[] IS NULL OR type = ANY(%(types)s))"
            " ORDER BY occurred_at, id"
        ),
    ),
    Kind.TRIPS: (TRIP_COLUMNS, "{overlap} ORDER BY started_at, id"),
    Kind.STOPS: (STOP_COLUMNS, "{overlap} ORDER BY started_at, id"),
    Kind.VISITS: (
        VISIT_COLUMNS,
        (
            "(%(since)s::timestamptz IS NULL OR left_at IS NULL OR left_at > %(since)s)"
            " AND (%(until)s::timestamptz IS NULL OR entered_at < %(until)s) ORDER BY entered_at, id"
        ),
    ),
}
_OVERLAP: Final[LiteralString] = (
    "(%(since)s::timestamptz IS NULL OR ended_at IS NULL OR ended_at > %(since)s)"
    " AND (%(until)s::timestamptz IS NULL OR started_at < %(until)s)"
)


def displayed(
    connection: AsyncConnection[Any],
    kind: Kind,
    device_ids: Sequence[int],
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    types: Sequence[str] | None = None,
    superseded: bool = False,
) -> AsyncIterator[dict[str, Any]]:
    """What was found of these trackers in the period, as their customer may see it, by time. ``Role.DISPLAY``.
    ``types`` and ``superseded`` are of events.
    """
    return _stream(connection, _DISPLAYED[kind], kind, _values(device_ids, since, until, types, superseded))


def everything(
    connection: AsyncConnection[Any],
    kind: Kind,
    device_ids: Sequence[int],
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    types: Sequence[str] | None = None,
    superseded: bool = False,
) -> AsyncIterator[dict[str, Any]]:
    """The same, whoever may see it. ``Role.CORE``."""
    return _stream(connection, _ALL[kind], kind, _values(device_ids, since, until, types, superseded))


def _values(
    device_ids: Sequence[int],
    since: datetime | None,
    until: datetime | None,
    types: Sequence[str] | None,
    superseded: bool,  # noqa: FBT001
) -> dict[str, Any]:
    return {
        "devices": list(device_ids),
        "since": since,
        "until": until,
        "types": None if types is None else list(types),
        "superseded": superseded,
    }


async def _stream(
    connection: AsyncConnection[Any], source: LiteralString, kind: Kind, values: dict[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    columns, condition = _READ[kind]
    statement: LiteralString = (
        f"SELECT {columns} FROM {source} WHERE device_id = ANY(%(devices)s) AND "  # noqa: S608
        + condition.replace("{overlap}", _OVERLAP)
    )
    set_json_loads(msgspec.json.decode, connection)
    async with connection.transaction(), connection.cursor("found", row_factory=dict_row) as cursor:
        cursor.itersize = FETCH_ROWS
        await cursor.execute(statement, values)
        async for row in cursor:
            yield row
