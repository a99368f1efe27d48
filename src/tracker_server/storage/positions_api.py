"""Fixes as the API shows them: through the gate, in the order of the engine's (moment, digest), by column.

A day of one tracker is some 9,000 rows. So what has a fixed width comes as one value of bytes for each row, thousands are
read as a table at once, and whatever is done is done to a column.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import numpy as np
import psycopg
from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.model.people import IN_SCOPE, Scope
from tracker_server.track.marking import EPOCH, MICROSECOND, Floats, Integers, Marks

CHUNK_ROWS = (
    1_000  # about so many are read and made into JSON at once: some milliseconds, then the loop turns
)
SLICE_ROWS_MAX = 4_000  # and never more than this, however many there are in the time of a slice
SLICE_FIRST = timedelta(hours=2)
SLICE_LEAST = timedelta(seconds=1)
LAST = datetime.max.replace(tzinfo=UTC) - MICROSECOND
SLICE_GROWTH_MAX = 8.0  # one is at most so many times as long as the one before
IDS_MAX = 500  # positions asked for by their numbers in one request
POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01, from where the database counts


class Fixes(Struct, frozen=True):
    """Fixes, a value for each in every field. Moments in microseconds since 1970; attributes and networks are JSON;
    NaN stands for what is not known.
    """

    ids: Sequence[int]
    device_ids: Sequence[int]
    account_ids: Sequence[int]
    fixed_us: Integers
    received_us: Integers
    latitudes: Sequence[float]
    longitudes: Sequence[float]
    valid: Sequence[bool]
    protocols: Sequence[str]
    altitudes_m: Floats
    speeds_mps: Floats
    courses_deg: Floats
    accuracies_m: Floats
    attributes: Sequence[str]
    networks: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.ids)

    def taken(self, at: Sequence[int]) -> Fixes:
        """Those at these places."""
        columns: list[Any] = [getattr(self, name) for name in self.__struct_fields__]
        return Fixes(*(_those(column, at) for column in columns))


def _those(column: Any, at: Sequence[int]) -> Any:
    return column[list(at)] if isinstance(column, np.ndarray) else [column[one] for one in at]


# each field of a record as it is sent: its type's number, its width, its value
RECORD: LiteralString = """
record_send(ROW(id, device_id, account_id, fixed_at, received_at, latitude, longitude, valid, coalesce(altitude_m, 'NaN'),
                coalesce(speed_mps, 'NaN'), coalesce(course_deg, 'NaN'), coalesce(accuracy_m, 'NaN')))
"""
WIDTHS = {
    **dict.fromkeys(("id", "device_id", "account_id", "fixed_at", "received_at"), ">i8"),
    "latitude": ">f8",
    "longitude": ">f8",
    "valid": "?",
    **dict.fromkeys(("altitude_m", "speed_mps", "course_deg", "accuracy_m"), ">f4"),
}
TABLE = np.dtype(
    [
        ("fields", ">i4"),
        *(part for name, kind in WIDTHS.items() for part in ((f"{name} is", ">i8"), (name, kind))),
    ]
)
COLUMNS: LiteralString = f"{RECORD}, protocol, attributes::text, network::text"
# the sort is of narrow rows
RANGE: LiteralString = f"""
SELECT {COLUMNS} FROM (
    SELECT * FROM display.positions
    WHERE device_id = %(device)s AND fixed_at >= %(since)s AND fixed_at < %(before)s ORDER BY fixed_at, digest LIMIT %(limit)s
) sorted
"""  # noqa: S608
ONE_MOMENT: LiteralString = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_LATEST: LiteralString = f"SELECT {COLUMNS}, odometer_mm, moving, fence_ids, engine_us FROM display.latest"  # noqa: S608
LATEST: LiteralString = f"{_LATEST} WHERE {IN_SCOPE} ORDER BY device_id"
LATEST_OF: LiteralString = f"{_LATEST} WHERE device_id = ANY(%(devices)s) ORDER BY device_id"
NUMBERED: LiteralString = f"""
SELECT {COLUMNS} FROM display.positions WHERE id = ANY(%(ids)s) ORDER BY fixed_at, digest
"""  # noqa: S608

DELETE: LiteralString = """
DELETE FROM core.positions WHERE device_id = %(device)s AND fixed_at >= %(since)s AND fixed_at <= %(until)s
  AND (%(number)s::bigint IS NULL OR id = %(number)s)
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


def fixes_of(rows: Sequence[tuple[Any, ...]]) -> Fixes:
    """Rows of ``COLUMNS``, or of more, by column."""
    records, protocols, attributes, networks = list(zip(*rows, strict=True))[:FIELDS] or ((), (), (), ())
    table = np.frombuffer(b"".join(records), dtype=TABLE)
    altitudes, speeds, courses, accuracies = (
        table[name].astype(np.float64) for name in ("altitude_m", "speed_mps", "course_deg", "accuracy_m")
    )
    return Fixes(
        ids=table["id"].tolist(),
        device_ids=table["device_id"].tolist(),
        account_ids=table["account_id"].tolist(),
        fixed_us=table["fixed_at"].astype(np.int64) + POSTGRES_EPOCH_US,
        received_us=table["received_at"].astype(np.int64) + POSTGRES_EPOCH_US,
        latitudes=table["latitude"].tolist(),
        longitudes=table["longitude"].tolist(),
        valid=table["valid"].tolist(),
        protocols=protocols,
        altitudes_m=altitudes,
        speeds_mps=speeds,
        courses_deg=courses,
        accuracies_m=accuracies,
        attributes=attributes,
        networks=networks,
    )


FIELDS = 4  # of ``COLUMNS``


class Slice(Struct, frozen=True):
    """A part of a period that is read at once: since ≤ fixed_at < before, and of more than ``limit`` rows the first."""

    since: datetime
    before: datetime
    limit: int

    def following(self, rows: int, last: datetime | None, end: datetime) -> Slice:
        """The next one, after so many ``rows``, of a length that holds about ``CHUNK_ROWS`` of them. ``last``: the moment
        of the last row, where there may be more of it: they are read again with those of the same moment.
        """
        begin, limit = self.before, SLICE_ROWS_MAX
        if last is not None:
            begin = last
            limit = self.limit * 2 if last == self.since else SLICE_ROWS_MAX
        length = (self.before if last is None else last) - self.since
        factor = min(max(CHUNK_ROWS / max(rows, 1), 1 / SLICE_GROWTH_MAX), SLICE_GROWTH_MAX)
        return Slice(begin, _within(begin, max(length * factor, SLICE_LEAST), end), limit)


def _within(begin: datetime, length: timedelta, end: datetime) -> datetime:
    return end if end - begin <= length else begin + length


async def positions_between(
    connection: AsyncConnection[Any], device_id: int, since: datetime, until: datetime
) -> AsyncGenerator[Fixes]:
    """One tracker's fixes with since ≤ fixed_at ≤ until, slice by slice, all as of one moment: a long history costs neither
    side its length in memory, and is never sorted as a whole. While one is worked on, the database makes the next. Close
    it where it is not read to its end.
    """

    def read(one: Slice) -> asyncio.Task[Sequence[tuple[Any, ...]]]:
        return asyncio.create_task(_rows_of(connection, device_id, one))

    end = min(until, LAST) + MICROSECOND
    async with connection.transaction():
        await connection.execute(ONE_MOMENT)
        now = Slice(since, _within(since, SLICE_FIRST, end), SLICE_ROWS_MAX)
        following = read(now)
        try:
            while True:
                rows = await following
                fixes, last = fixes_of(rows), None
                if len(rows) == now.limit:
                    last_us = int(fixes.fixed_us[-1])
                    last = EPOCH + MICROSECOND * last_us
                    fixes = fixes.taken(range(int(fixes.fixed_us.searchsorted(last_us))))
                elif now.before == end:
                    break
                now = now.following(len(rows), last, end)
                following = read(now)
                await asyncio.sleep(0)  # it is asked for
                if fixes:
                    yield fixes
        finally:
            await _settled(following)
    if fixes:
        yield fixes


async def _rows_of(connection: AsyncConnection[Any], device_id: int, one: Slice) -> Sequence[tuple[Any, ...]]:
    asked = {"device": device_id, "since": one.since, "before": one.before, "limit": one.limit}
    return await (await connection.execute(RANGE, asked, binary=True, prepare=True)).fetchall()


async def _settled(task: asyncio.Task[Any]) -> None:
    """The connection is free again."""
    with suppress(psycopg.Error):
        await task


async def latest_positions(connection: AsyncConnection[Any], scope: Scope) -> tuple[Fixes, Marks]:
    """The latest of each tracker in this scope."""
    found = await connection.execute(LATEST, scope.parameters(), binary=True)
    return _marked(await found.fetchall())


async def latest_positions_of(
    connection: AsyncConnection[Any], device_ids: Sequence[int]
) -> tuple[Fixes, Marks]:
    """The latest of these trackers."""
    found = await connection.execute(LATEST_OF, {"devices": list(device_ids)}, binary=True)
    return _marked(await found.fetchall())


def _marked(rows: Sequence[tuple[Any, ...]]) -> tuple[Fixes, Marks]:
    """As the engine left each tracker; the step to a latest fix is not asked for, it would be a look-up for each."""
    marks = Marks(
        None,
        [row[FIELDS] / 1000 for row in rows],
        [row[FIELDS + 1] for row in rows],
        [tuple(row[FIELDS + 2]) for row in rows],
        [None if row[FIELDS + 3] is None else row[FIELDS + 3] // 1000 for row in rows],
    )
    return fixes_of(rows), marks


async def positions_numbered(connection: AsyncConnection[Any], ids: Sequence[int]) -> Fixes:
    """Those with these numbers, of whatever tracker: whoever asks must be held to his scope by what comes back."""
    found = await connection.execute(NUMBERED, {"ids": list(ids[:IDS_MAX])}, binary=True)
    return fixes_of(await found.fetchall())


async def names_of(connection: AsyncConnection[Any], device_ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Unique id and name of these trackers, as far as they are shown."""
    found = await connection.execute(
        "SELECT id, unique_id, name FROM display.devices WHERE id = ANY(%s)", [list(device_ids)]
    )
    return {device_id: (unique_id, name) for device_id, unique_id, name in await found.fetchall()}


async def delete_positions(
    connection: AsyncConnection[Any],
    device_id: int,
    since: datetime,
    until: datetime,
    *,
    number: int | None = None,
) -> int:
    """Delete a tracker's fixes of since ≤ fixed_at ≤ until (``number``: of them that one alone), and let the engine run
    over what is left; answers how many there were. Within a transaction of ``Role.CORE``.
    """
    asked = {"device": device_id, "since": since, "until": until, "number": number}
    done = await connection.execute(DELETE, asked)
    if done.rowcount:
        await connection.execute(LATEST_LEFT, asked)
        await connection.execute(RUN_AGAIN, asked)
    return done.rowcount
