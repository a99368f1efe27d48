"""Geofences and who they are for: an account's rows, every vertex as it was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

import msgspec
import structlog
from msgspec import Struct, field
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from tracker_server.pipeline.batch import micros
from tracker_server.track.fences.shapes import Area, Circle, Corridor, Fence, Shape

log = structlog.get_logger(__name__)

# of one account: all of them are prepared in memory, about 2 KB and 20 µs each
FENCES_MAX = 200_000

_SHAPE = msgspec.json.Decoder(Shape)
_JSON = msgspec.json.Encoder()

COLUMNS: LiteralString = (
    "id, account_id, name, shape::text, speed_limit_mps, dwell_s, schedule, calendar_id, everyone, attributes,"
    " created_at, since, until"
)
ADD = """
INSERT INTO core.fences
    (account_id, name, kind, shape, speed_limit_mps, dwell_s, schedule, calendar_id, everyone, attributes, since, until)
VALUES (%(account_id)s, %(name)s, %(kind)s, %(shape)s::jsonb, %(speed_limit_mps)s, %(dwell_s)s, %(schedule)s, %(calendar_id)s,
        %(everyone)s, %(attributes)s::jsonb, %(since)s, %(until)s)
RETURNING id
"""
CHANGE = """
UPDATE core.fences SET name = %(name)s, kind = %(kind)s, shape = %(shape)s::jsonb, speed_limit_mps = %(speed_limit_mps)s,
    dwell_s = %(dwell_s)s, schedule = %(schedule)s, calendar_id = %(calendar_id)s, everyone = %(everyone)s,
    attributes = %(attributes)s::jsonb, since = %(since)s, until = %(until)s
WHERE id = %(id)s AND removed_at IS NULL
"""


class TooManyFencesError(Exception):
    """The account would have more than ``FENCES_MAX``."""


class NewFence(Struct, frozen=True, kw_only=True):
    """A fence to be drawn. It counts for fixes received from now on (or from ``since``, where that is earlier), with
    moments from ``since`` until before ``until`` (None: any). ``everyone``: for all trackers of the account, else for those that it is assigned to.
    ``schedule``: iCalendar; its events are told within it only.
    """

    name: str
    shape: Shape
    speed_limit_mps: float | None = None
    dwell_s: float | None = None
    schedule: str | None = None
    calendar_id: int | None = None
    everyone: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None


class FenceRow(NewFence, frozen=True, kw_only=True):
    """A fence as it is."""

    id: int
    account_id: int
    created_at: datetime

    @property
    def fence(self) -> Fence:
        """As the track engine knows it."""
        return Fence(
            id=self.id,
            name=self.name,
            shape=self.shape,
            speed_limit_mps=self.speed_limit_mps,
            dwell_s=self.dwell_s,
            since_us=micros(self.since) if self.since else None,
            until_us=micros(self.until) if self.until else None,
        )


def kind_of(shape: Shape) -> str:
    """As ``core.fences.kind`` has it."""
    match shape:
        case Circle():
            return "circle"
        case Corridor():
            return "corridor"
        case Area():
            return "area"


def _row(found: dict[str, Any]) -> FenceRow | None:
    """None where somebody wrote a shape by hand that is none: it costs that fence, and is told."""
    try:
        return FenceRow(**{**found, "shape": _SHAPE.decode(found["shape"])})
    except msgspec.DecodeError as error:
        log.warning(
            "a fence's shape cannot be read; it counts for nothing", fence=found["id"], error=str(error)
        )
        return None


def _parameters(new: NewFence) -> dict[str, Any]:
    given = {name: getattr(new, name) for name in NewFence.__struct_fields__}
    text = {"shape": _JSON.encode(new.shape).decode(), "attributes": _JSON.encode(new.attributes).decode()}
    return {**given, **text, "kind": kind_of(new.shape)}


async def _select(
    connection: AsyncConnection[Any], table: LiteralString, condition: LiteralString, values: Sequence[Any]
) -> list[FenceRow]:
    statement: LiteralString = f"SELECT {COLUMNS} FROM {table} WHERE {condition} ORDER BY id"  # noqa: S608
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, values)
        return [row for found in await cursor.fetchall() if (row := _row(found)) is not None]


async def fences_of(connection: AsyncConnection[Any], account_id: int) -> list[FenceRow]:
    """The account's fences that were not removed. ``Role.CORE``."""
    return await _select(connection, "core.fences", "account_id = %s AND removed_at IS NULL", [account_id])


async def every_fence_of(connection: AsyncConnection[Any], account_id: int) -> list[FenceRow]:
    """The account's fences and those that were removed, for reports of the time when they were there."""
    return await _select(connection, "core.fences", "account_id = %s", [account_id])


async def displayed_fences(connection: AsyncConnection[Any], account_id: int) -> list[FenceRow]:
    """As ``fences_of``, for ``Role.DISPLAY``."""
    return await _select(connection, "display.fences", "account_id = %s", [account_id])


async def displayed_fence(connection: AsyncConnection[Any], fence_id: int) -> FenceRow | None:
    """As ``fence_of``, for ``Role.DISPLAY``."""
    found = await _select(connection, "display.fences", "id = %s", [fence_id])
    return found[0] if found else None


async def fence_of(connection: AsyncConnection[Any], fence_id: int) -> FenceRow | None:
    """One that was not removed."""
    found = await _select(connection, "core.fences", "id = %s AND removed_at IS NULL", [fence_id])
    return found[0] if found else None


async def add_fences(connection: AsyncConnection[Any], account_id: int, new: Sequence[NewFence]) -> list[int]:
    """Draw all of them or none; answers their ids in order. Raises TooManyFencesError."""
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(
            "SELECT count(*) FROM core.fences WHERE account_id = %s AND removed_at IS NULL", [account_id]
        )
        counted = await cursor.fetchone()
        assert counted is not None
        if counted[0] + len(new) > FENCES_MAX:
            raise TooManyFencesError(
                f"the account has {counted[0]} fences and may have {FENCES_MAX}; remove some"
            )
        if not new:
            return []
        await cursor.executemany(
            ADD, [{**_parameters(one), "account_id": account_id} for one in new], returning=True
        )
        ids: list[int] = []
        while True:
            row = await cursor.fetchone()
            assert row is not None
            ids.append(row[0])
            if not cursor.nextset():
                return ids


async def change_fence(connection: AsyncConnection[Any], fence_id: int, to: NewFence) -> bool:
    """Draw it anew; False where it is not there. What was found before stays; later fixes, and late ones whose time
    is run again, are judged by the new shape.
    """
    return (await connection.execute(CHANGE, {**_parameters(to), "id": fence_id})).rowcount > 0


async def remove_fence(connection: AsyncConnection[Any], fence_id: int) -> bool:
    """It counts no longer; visits that had begun end now, and that is no exit. False where it is not there."""
    removed = await connection.execute(
        "UPDATE core.fences SET removed_at = now(), until = least(until, now()) WHERE id = %s AND removed_at IS NULL",
        [fence_id],
    )
    return removed.rowcount > 0


async def assign_fence(
    connection: AsyncConnection[Any], fence_id: int, device_ids: Sequence[int], *, everyone: bool = False
) -> None:
    """It is for these trackers besides those that it was assigned to; or for all of the account again."""
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO core.fence_devices (fence_id, device_id) SELECT %s, unnest(%s::bigint[]) ON CONFLICT DO NOTHING",
            [fence_id, list(device_ids)],
        )
        await connection.execute("UPDATE core.fences SET everyone = %s WHERE id = %s", [everyone, fence_id])


async def unassign_fence(
    connection: AsyncConnection[Any], fence_id: int, device_ids: Sequence[int] | None = None
) -> None:
    """It is for these trackers no longer; None: for none that it was assigned to."""
    await connection.execute(
        "DELETE FROM core.fence_devices WHERE fence_id = %(fence)s"
        " AND (%(devices)s::bigint[] IS NULL OR device_id = ANY(%(devices)s))",
        {"fence": fence_id, "devices": None if device_ids is None else list(device_ids)},
    )


async def devices_of_fence(connection: AsyncConnection[Any], fence_id: int) -> dict[int, int]:
    """The connected trackers that it is assigned to, each with its account."""
    rows = await connection.execute(
        "SELECT d.id, d.account_id FROM core.fence_devices a JOIN core.devices d ON d.id = a.device_id"
        " WHERE a.fence_id = %s AND d.removed_at IS NULL",
        [fence_id],
    )
    return dict(await rows.fetchall())


async def assigned(connection: AsyncConnection[Any], account_id: int) -> dict[int, list[int]]:
    """The trackers that the account's fences are assigned to, by fence."""
    rows = await connection.execute(
        "SELECT a.fence_id, array_agg(a.device_id ORDER BY a.device_id) FROM core.fence_devices a"
        " JOIN core.fences f ON f.id = a.fence_id WHERE f.account_id = %s AND f.removed_at IS NULL GROUP BY 1",
        [account_id],
    )
    return dict(await rows.fetchall())


async def inside(connection: AsyncConnection[Any], fence_id: int) -> list[tuple[int, str, datetime]]:
    """Who is in it as its customer may see: the tracker's id and name for itself, and since when. ``Role.DISPLAY``."""
    rows = await connection.execute(
        "SELECT device_id, unique_id, entered_at FROM display.visits WHERE fence_id = %s AND left_at IS NULL"
        " ORDER BY entered_at, device_id",
        [fence_id],
    )
    return [(device_id, unique_id, entered_at) for device_id, unique_id, entered_at in await rows.fetchall()]


async def schedule_fences(connection: AsyncConnection[Any], calendar_id: int, schedule: str | None) -> None:
    """A calendar changed: the fences that go by it go by its new text."""
    await connection.execute(
        "UPDATE core.fences SET schedule = %s WHERE calendar_id = %s AND removed_at IS NULL",
        [schedule, calendar_id],
    )


async def fences_by_id(connection: AsyncConnection[Any], ids: Sequence[int]) -> list[FenceRow]:
    """These, by id, without what was removed. ``Role.CORE``."""
    return await _select(connection, "core.fences", "id = ANY(%s) AND removed_at IS NULL", [list(ids)])


async def fences_of_device(connection: AsyncConnection[Any], device_id: int) -> set[int]:
    """Those that count for a tracker."""
    rows = await connection.execute(
        "SELECT f.id FROM core.fences f JOIN core.devices d ON d.id = %(device)s AND f.account_id = d.account_id"
        " WHERE f.removed_at IS NULL AND (f.everyone OR EXISTS ("
        " SELECT FROM core.fence_devices a WHERE a.fence_id = f.id AND a.device_id = d.id))",
        {"device": device_id},
    )
    return {number for (number,) in await rows.fetchall()}
