"""Reading the trackers and their blocks, and hearing of changes to them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from tracker_server.gate import Block
from tracker_server.pipeline.batch import micros
from tracker_server.pipeline.trackers import Tracker

CHANNEL = "tracker_devices"

# to be read in binary format: the text form of a record does not tell the types of its fields
SELECT = """
SELECT d.id, d.unique_id, d.account_id, s.newest_fixed_at, s.contact_at, b.blocks, d.name, s.online
FROM core.devices d
JOIN core.device_state s ON s.device_id = d.id
LEFT JOIN LATERAL (
    SELECT array_agg(ROW(reason, since, until, note) ORDER BY since) AS blocks FROM core.blocks WHERE device_id = d.id
) b ON true
WHERE d.removed_at IS NULL
"""


async def read_all(connection: AsyncConnection[Any]) -> list[Tracker]:
    """Every tracker there is."""
    return [_tracker(*row) async for row in connection.cursor(binary=True).stream(SELECT)]


async def read_some(connection: AsyncConnection[Any], ids: Iterable[int]) -> dict[int, Tracker | None]:
    """These trackers; None for one that is removed."""
    wanted = list(ids)
    found: dict[int, Tracker | None] = dict.fromkeys(wanted)
    rows = await connection.execute(f"{SELECT} AND d.id = ANY(%s)", [wanted], binary=True)
    for row in await rows.fetchall():
        tracker = _tracker(*row)
        assert tracker.id is not None
        found[tracker.id] = tracker
    return found


async def read_named(connection: AsyncConnection[Any], names: Iterable[str]) -> dict[str, Tracker]:
    """Those of these names that are known, by name."""
    rows = await connection.execute(f"{SELECT} AND d.unique_id = ANY(%s)", [list(names)], binary=True)
    return {row[1]: _tracker(*row) for row in await rows.fetchall()}


def _tracker(  # noqa: PLR0913, PLR0917  (the columns of SELECT)
    tracker_id: int,
    unique_id: str,
    account_id: int,
    newest_fixed_at: datetime | None,
    contact_at: datetime | None,
    blocks: list[tuple[str, datetime, datetime | None, str]] | None,
    name: str,
    online: bool | None,  # noqa: FBT001  (a column)
) -> Tracker:
    contact_us = micros(contact_at) if contact_at else 0
    return Tracker(
        unique_id=unique_id,
        id=tracker_id,
        account_id=account_id,
        newest_us=micros(newest_fixed_at) if newest_fixed_at else None,
        contact_us=contact_us,
        contact_stored_us=contact_us,
        blocks=tuple(Block(reason, since, until, note) for reason, since, until, note in blocks or ()),
        name=name,
        online=online,
    )
