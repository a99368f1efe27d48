"""Fixes as the API shows them: through the gate, in the order of the engine's (moment, digest), by column.

A day of one tracker is some 9,000 rows. So a thousand come as one: what has a fixed width as a table, the rest as texts one
after the other. The database then writes them in one piece, where each row would wake us for itself; and whatever is done
is done to a column.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.later import np
from tracker_server.model.people import IN_SCOPE, Scope
from tracker_server.track.marking import EPOCH, MICROSECOND, Flags, Floats, Integers, Marks

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


Packed = tuple[Any, ...]
"""Rows that the database put together: one of ``COLUMNS``, whose values are None where there were no rows."""


class Fixes(Struct, frozen=True):
    """Fixes, a value for each in every field. Moments in microseconds since 1970; attributes and networks are JSON;
    NaN stands for what is not known.
    """

    ids: Sequence[int]
    device_ids: Sequence[int]
    account_ids: Sequence[int]
    fixed_us: Integers
    received_us: Integers
    latitudes: Floats
    longitudes: Floats
    valid: Flags
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
WIDTHS = {
    **dict.fromkeys(("id", "device_id", "account_id", "fixed_at", "received_at"), ">i8"),
    "latitude": ">f8",
    "longitude": ">f8",
    "valid": "?",
    **dict.fromkeys(("altitude_m", "speed_mps", "course_deg", "accuracy_m"), ">f4"),
}
LATEST_WIDTHS = {**WIDTHS, "odometer_mm": ">i8", "moving": "?", "engine_us": ">i8"}
RECORD: LiteralString = """
id, device_id, account_id, fixed_at, received_at, latitude, longitude, valid, coalesce(altitude_m, 'NaN'),
coalesce(speed_mps, 'NaN'), coalesce(course_deg, 'NaN'), coalesce(accuracy_m, 'NaN')
"""
UNKNOWN = -(2**63)  # of the engine's time, where nobody has set it
LATEST_RECORD: LiteralString = f"{RECORD}, odometer_mm, moving, coalesce(engine_us, '-9223372036854775808')"
# of text that may be anything: no text holds a NUL; none of the others' holds a new line
TEXTS: LiteralString = r"""
string_agg(convert_to(protocol, 'UTF8'), '\x00'), string_agg(attributes::text, E'\n'),
string_agg(coalesce(network::text, ''), E'\n')
"""
COLUMNS: LiteralString = f"string_agg(record_send(ROW({RECORD})), ''), {TEXTS}"
LATEST_COLUMNS: LiteralString = f"""
string_agg(record_send(ROW({LATEST_RECORD})), ''), {TEXTS}, string_agg(array_to_string(fence_ids, ','), E'\n')
"""


@cache
def _table(*, latest: bool = False) -> np.dtype[Any]:
    widths = LATEST_WIDTHS if latest else WIDTHS
    fields = [part for name, kind in widths.items() for part in ((f"{name} is", ">i8"), (name, kind))]
    return np.dtype([("fields", ">i4"), *fields])


# sorted first: what is put together comes in the order of what it is put together from
RANGE: LiteralString = f"""
SELECT {COLUMNS} FROM (
    SELECT * FROM display.positions
    WHERE device_id = %(device)s AND fixed_at >= %(since)s AND fixed_at < %(before)s ORDER BY fixed_at, digest LIMIT %(limit)s
) sorted
"""  # noqa: S608
NUMBERED: LiteralString = f"""
SELECT {COLUMNS} FROM (SELECT * FROM display.positions WHERE id = ANY(%(ids)s) ORDER BY fixed_at, digest) sorted
"""  # noqa: S608
_LATEST: LiteralString = f"SELECT {LATEST_COLUMNS} FROM (SELECT * FROM display.latest WHERE"  # noqa: S608
LATEST: LiteralString = f"{_LATEST} {IN_SCOPE} ORDER BY device_id) sorted"
LATEST_OF: LiteralString = f"{_LATEST} device_id = ANY(%(devices)s) ORDER BY device_id) sorted"
ONE_MOMENT: LiteralString = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

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


def fixes_of(row: Packed) -> Fixes:
    """A row of ``COLUMNS``, or of more, by column."""
    return _fixes(_records(row, _table()), row)


def _records(row: Packed, table: np.dtype[Any]) -> NDArray[np.void]:
    return np.frombuffer(row[0] or b"", dtype=table)


def _fixes(table: NDArray[np.void], row: Packed) -> Fixes:
    _, protocols, attributes, networks, *_ = row
    latitudes, longitudes, altitudes, speeds, courses, accuracies = (
        table[name].astype(np.float64)
        for name in ("latitude", "longitude", "altitude_m", "speed_mps", "course_deg", "accuracy_m")
    )
    return Fixes(
        ids=table["id"].tolist(),
        device_ids=table["device_id"].tolist(),
        account_ids=table["account_id"].tolist(),
        fixed_us=table["fixed_at"].astype(np.int64) + POSTGRES_EPOCH_US,
        received_us=table["received_at"].astype(np.int64) + POSTGRES_EPOCH_US,
        latitudes=latitudes,
        longitudes=longitudes,
        valid=table["valid"].astype(np.bool_),
        protocols=[] if protocols is None else bytes(protocols).decode().split("\0"),
        altitudes_m=altitudes,
        speeds_mps=speeds,
        courses_deg=courses,
        accuracies_m=accuracies,
        attributes=_lines(attributes),
        networks=[one or None for one in _lines(networks)],
    )


def _lines(text: str | None) -> list[str]:
    """A text for each row; None: there was no row."""
    return [] if text is None else text.split("\n")


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

    def read(one: Slice) -> asyncio.Task[Packed]:
        return asyncio.create_task(_row_of(connection, device_id, one))

    end = min(until, LAST) + MICROSECOND
    async with connection.transaction():
        await connection.execute(ONE_MOMENT)
        now = Slice(since, _within(since, SLICE_FIRST, end), SLICE_ROWS_MAX)
        following = read(now)
        try:
            while True:
                fixes, last = fixes_of(await following), None
                rows = len(fixes)
                if rows == now.limit:
                    last_us = int(fixes.fixed_us[-1])
                    last = EPOCH + MICROSECOND * last_us
                    fixes = fixes.taken(range(int(fixes.fixed_us.searchsorted(last_us))))
                elif now.before == end:
                    break
                now = now.following(rows, last, end)
                following = read(now)
                await asyncio.sleep(0)  # it is asked for
                if fixes:
                    yield fixes
        finally:
            await _settled(following)
    if fixes:
        yield fixes


async def _row_of(connection: AsyncConnection[Any], device_id: int, one: Slice) -> Packed:
    asked = {"device": device_id, "since": one.since, "before": one.before, "limit": one.limit}
    return await _packed(connection, RANGE, asked)


async def _packed(
    connection: AsyncConnection[Any], statement: LiteralString, asked: Mapping[str, Any]
) -> Packed:
    row = await (await connection.execute(statement, asked, binary=True, prepare=True)).fetchone()
    assert row is not None, "what is put together is one row"
    return row


async def _settled(task: asyncio.Task[Any]) -> None:
    """The connection is free again."""
    with suppress(psycopg.Error):
        await task


async def latest_positions(connection: AsyncConnection[Any], scope: Scope) -> tuple[Fixes, Marks]:
    """The latest of each tracker in this scope."""
    return _marked(await _packed(connection, LATEST, scope.parameters()))


async def latest_positions_of(
    connection: AsyncConnection[Any], device_ids: Sequence[int]
) -> tuple[Fixes, Marks]:
    """The latest of these trackers."""
    return _marked(await _packed(connection, LATEST_OF, {"devices": list(device_ids)}))


def _marked(row: Packed) -> tuple[Fixes, Marks]:
    """As the engine left each tracker; the step to a latest fix is not asked for, it would be a look-up for each."""
    table = _records(row, _table(latest=True))
    inside = {text: tuple(map(int, filter(None, text.split(",")))) for text in set(_lines(row[-1]))}
    marks = Marks(
        None,
        table["odometer_mm"] / 1000,
        table["moving"],
        [inside[text] for text in _lines(row[-1])],
        [None if us == UNKNOWN else us // 1000 for us in table["engine_us"].tolist()],
    )
    return _fixes(table, row), marks


async def positions_numbered(connection: AsyncConnection[Any], ids: Sequence[int]) -> Fixes:
    """Those with these numbers, of whatever tracker: whoever asks must be held to his scope by what comes back."""
    return fixes_of(await _packed(connection, NUMBERED, {"ids": list(ids[:IDS_MAX])}))


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
