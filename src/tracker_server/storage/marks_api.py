"""What marks a tracker's fixes in a range: the trips and visits that touch it, through the gate."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection

from tracker_server.later import np
from tracker_server.track.marking import Marker, Ride, Stay, steps_m

RIDES: LiteralString = """
SELECT started_at, ended_at, odometer_start_mm, distance_mm FROM display.trips
WHERE device_id = %(device)s AND started_at <= %(until)s AND (ended_at IS NULL OR ended_at >= %(since)s)
ORDER BY started_at
"""
BEFORE: LiteralString = """
SELECT odometer_start_mm + distance_mm FROM display.trips
WHERE device_id = %(device)s AND ended_at < %(since)s ORDER BY started_at DESC LIMIT 1
"""
NOW: LiteralString = "SELECT odometer_mm FROM display.device_marks WHERE device_id = %(device)s"
STAYS: LiteralString = """
SELECT fence_id, entered_at, left_at FROM display.visits
WHERE device_id = %(device)s AND entered_at <= %(until)s AND (left_at IS NULL OR left_at > %(since)s)
ORDER BY entered_at, fence_id
"""
LEAD: LiteralString = """
SELECT latitude, longitude FROM display.positions
WHERE device_id = %(device)s AND fixed_at >= %(from)s AND fixed_at < %(since)s AND valid ORDER BY fixed_at, digest
"""


async def marker_of(
    connection: AsyncConnection[Any], device_id: int, since: datetime, until: datetime
) -> Marker:
    """What marks the fixes of since ≤ fixed_at ≤ until. The connection is ``Role.DISPLAY``'s."""
    asked = {"device": device_id, "since": since, "until": until}
    rows = await (await connection.execute(RIDES, asked, binary=True)).fetchall()
    rides = [Ride(started, ended, start / 1000, way / 1000) for started, ended, start, way in rows]
    last: tuple[float, float] | None = None
    if rides and rides[0].started_at < since:
        first = rides[0]
        lead_m, last = await _lead(connection, device_id, first.started_at, since)
        rides[0] = Ride(first.started_at, first.ended_at, first.odometer_start_m, first.distance_m, lead_m)
    stays = await (await connection.execute(STAYS, asked, binary=True)).fetchall()
    odometer_m = rides[0].odometer_start_m if rides else await odometer_before(connection, device_id, since)
    return Marker(rides, [Stay(*row) for row in stays], odometer_m, last)


async def _lead(
    connection: AsyncConnection[Any], device_id: int, started_at: datetime, since: datetime
) -> tuple[float, tuple[float, float] | None]:
    """The way from a trip's start to the last fix before the range, and that fix's place."""
    asked = {"device": device_id, "from": started_at, "since": since}
    places = await (await connection.execute(LEAD, asked, binary=True)).fetchall()
    if not places:
        return 0.0, None
    table = np.array(places, dtype=np.float64)
    return float(steps_m(table[:, 0], table[:, 1]).sum()), (places[-1][0], places[-1][1])


async def odometer_before(connection: AsyncConnection[Any], device_id: int, since: datetime) -> float:
    """Metres, where no trip goes on: as the last trip before left it, or as it stands where there was none."""
    for statement in (BEFORE, NOW):
        asked = {"device": device_id, "since": since}
        found = await (await connection.execute(statement, asked, binary=True)).fetchone()
        if found is not None:
            return found[0] / 1000
    return 0.0


async def way_within(
    connection: AsyncConnection[Any], device_id: int, started_at: datetime, until: datetime
) -> float:
    """Metres from a trip's start to the last fix before a moment in it."""
    return (await _lead(connection, device_id, started_at, until))[0]
