"""Computed attributes and the trackers that they are linked to, one by one or by a group."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

LINKED = """
WITH RECURSIVE inside AS (
    SELECT id AS top, id FROM core.groups
    UNION
    SELECT i.top, g.id FROM core.groups g JOIN inside i ON g.group_id = i.id
)
SELECT d.id AS device_id, a.id, a.attribute, a.expression, a.type
FROM core.computed_attributes a
JOIN core.links l ON l.kind = 'attribute' AND l.object_id = a.id
JOIN core.devices d ON d.removed_at IS NULL AND (
    (l.owner = 'device' AND d.id = l.owner_id)
    OR (l.owner = 'group' AND d.group_id IN (SELECT id FROM inside WHERE top = l.owner_id)))
GROUP BY d.id, a.id
ORDER BY d.id, a.priority DESC, a.id
"""


class ComputedRow(Struct, frozen=True):
    """One attribute of one tracker."""

    device_id: int
    id: int
    attribute: str
    expression: str
    type: str


async def computed_of_devices(connection: AsyncConnection[Any]) -> list[ComputedRow]:
    """All of them, by tracker, in the order in which they are computed."""
    async with connection.cursor(row_factory=class_row(ComputedRow)) as cursor:
        await cursor.execute(LINKED)
        return await cursor.fetchall()


async def latest_shown(connection: AsyncConnection[Any], device_id: int) -> dict[str, Any] | None:
    """A tracker's latest fix as its customer may see it. The connection is ``Role.DISPLAY``'s."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT p.* FROM display.devices d CROSS JOIN LATERAL (SELECT * FROM display.positions"
            " WHERE device_id = d.id AND fixed_at = d.latest_fixed_at ORDER BY id DESC LIMIT 1) p WHERE d.id = %s",
            [device_id],
        )
        return await cursor.fetchone()
