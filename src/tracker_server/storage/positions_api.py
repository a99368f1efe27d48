"""Fixes as the API shows them: through the gate, in the order of the engine's (moment, digest), as plain tuples.

A day of one tracker is some 9,000 rows. So the database writes numbers and moments as text, in C and in a process of
its own, and what is left to do for each row is to put pieces together.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection

from tracker_server.model.people import IN_SCOPE, Scope
from tracker_server.track.marking import Mark

CHUNK_ROWS = 1_000  # what is made into JSON at once: some 10 ms, then the loop turns
IDS_MAX = 500  # positions asked for by their numbers in one request

Row = tuple[
    int, int, int, datetime, float, float, bool, str, str, str, str, str, str, str, str, str, str,
]  # fmt: skip
"""id, device_id, account_id, fixed_at, latitude, longitude, valid, protocol; then as text: received_at, fixed_at (ISO, UTC),
latitude, longitude, altitude (m), speed (knots), course, accuracy (m), what is unknown as 0; attributes (JSON)."""
Marked = tuple[Row, Mark]


def _number(expression: LiteralString) -> LiteralString:
    """As JSON has it: neither null, nor what JSON has no word for."""
    return f"coalesce((CASE WHEN abs({expression}) < 'Infinity' THEN {expression} END)::text, '0')"


_NUMBERS: LiteralString = ", ".join(
    [
        _number("altitude_m"),
        _number("(speed_mps * 1.9438445::real)::real"),  # knots
        _number("course_deg"),
        _number("accuracy_m"),
    ]
)
_COLUMNS: LiteralString = (
    "id, device_id, account_id, fixed_at, latitude, longitude, valid, protocol, received_at::text AS received, fixed_at::text AS fixed,"
    f" latitude::text, longitude::text, {_NUMBERS}, attributes::text"
)
RANGE: LiteralString = f"""
SELECT {_COLUMNS} FROM display.positions
WHERE device_id = %(device)s AND fixed_at >= %(since)s AND fixed_at <= %(until)s ORDER BY fixed_at, digest
"""  # noqa: S608
_LATEST: LiteralString = f"SELECT {_COLUMNS}, odometer_mm, moving, fence_ids FROM display.latest"  # noqa: S608
LATEST: LiteralString = f"{_LATEST} WHERE {IN_SCOPE} ORDER BY device_id"
LATEST_OF: LiteralString = f"{_LATEST} WHERE device_id = ANY(%(devices)s) ORDER BY device_id"
NUMBERED: LiteralString = f"""
SELECT {_COLUMNS} FROM display.positions WHERE id = ANY(%(ids)s) ORDER BY fixed_at, digest
"""  # noqa: S608

DELETE: LiteralString = """
DELETE FROM core.positions WHERE device_id = %(device)s AND fixed_at >= %(since)s AND fixed_at <= %(until)s
"""
# of the newest some that are left, for a fix that claimed to come from the future counts as at its receipt
LATEST_LEFT: LiteralString = """
UPDATE core.device_state s
SET newest_fixed_at = l.newest, latest_at = l.at, latest_fixed_at = l.fixed_at, latest_digest = l.digest
FROM (SELECT %(device)s::bigint AS device_id) d
LEFT JOIN LATERAL (
    SELECT max(fixed_at) OVER () AS newest, least(fixed_at, received_at) AS at, fixed_at, digest FROM (
        SELECT fixed_at, received_at, digest FROM core.positions
        WHERE device_id = %(device)s ORDER BY fixed_at DESC, digest DESC LIMIT 1000
    ) n ORDER BY at DESC, fixed_at DESC, digest DESC LIMIT 1
) l ON true
WHERE s.device_id = d.device_id
"""
RUN_AGAIN: LiteralString = """
INSERT INTO core.track_queue (device_id, from_at) VALUES (%(device)s, %(since)s)
ON CONFLICT (device_id) DO UPDATE SET from_at = least(track_queue.from_at, excluded.from_at)
"""


async def positions_between(
    connection: AsyncConnection[Any], device_id: int, since: datetime, until: datetime
) -> AsyncGenerator[list[Row]]:
    """One tracker's fixes with since ≤ fixed_at ≤ until, in chunks, as they come from the database: a long history
    costs neither side its length in memory. Close it where it is not read to its end.
    """
    parameters = {"device": device_id, "since": since, "until": until}
    chunk: list[Row] = []
    cursor = connection.cursor()
    rows = cursor.stream(RANGE, parameters, binary=True, size=CHUNK_ROWS)
    try:
        async for row in rows:
            chunk.append(row)  # pyright: ignore[reportArgumentType]
            if len(chunk) == CHUNK_ROWS:
                yield chunk
                chunk = []
    finally:
        await _end(rows)
    if chunk:
        yield chunk


async def _end(rows: AsyncIterator[Any]) -> None:
    if isinstance(rows, AsyncGenerator):
        await rows.aclose()


async def latest_positions(connection: AsyncConnection[Any], scope: Scope) -> list[Marked]:
    """The latest of each tracker in this scope."""
    found = await connection.execute(LATEST, scope.parameters(), binary=True)
    return _marked(await found.fetchall())


async def latest_positions_of(connection: AsyncConnection[Any], device_ids: Sequence[int]) -> list[Marked]:
    """The latest of these trackers."""
    found = await connection.execute(LATEST_OF, {"devices": list(device_ids)}, binary=True)
    return _marked(await found.fetchall())


def _marked(rows: Sequence[tuple[Any, ...]]) -> list[Marked]:
    """As the engine left each tracker; the step to a latest fix is not asked for, it would be a look-up for each."""
    return [
        (row[:17], Mark(None, row[17] / 1000, row[18], tuple(row[19])))  # pyright: ignore[reportReturnType]
        for row in rows
    ]


async def positions_numbered(connection: AsyncConnection[Any], ids: Sequence[int]) -> list[Row]:
    """Those with these numbers, of whatever tracker: whoever asks must be held to his scope by what comes back."""
    found = await connection.execute(NUMBERED, {"ids": list(ids[:IDS_MAX])}, binary=True)
    return await found.fetchall()


async def names_of(connection: AsyncConnection[Any], device_ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Unique id and name of these trackers, as far as they are shown."""
    found = await connection.execute(
        "SELECT id, unique_id, name FROM display.devices WHERE id = ANY(%s)", [list(device_ids)]
    )
    return {device_id: (unique_id, name) for device_id, unique_id, name in await found.fetchall()}


async def delete_positions(
    connection: AsyncConnection[Any], device_id: int, since: datetime, until: datetime
) -> int:
    """Delete a tracker's fixes of since ≤ fixed_at ≤ until, and let the engine run over what is left; answers how many
    there were. Within a transaction of ``Role.CORE``.
    """
    asked = {"device": device_id, "since": since, "until": until}
    done = await connection.execute(DELETE, asked)
    if done.rowcount:
        await connection.execute(LATEST_LEFT, asked)
        await connection.execute(RUN_AGAIN, asked)
    return done.rowcount
