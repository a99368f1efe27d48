"""Groups in groups."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection

INSIDE = """
WITH RECURSIVE above AS (
    SELECT id, group_id FROM core.groups WHERE id = %(inner)s
    UNION
    SELECT g.id, g.group_id FROM core.groups g JOIN above a ON g.id = a.group_id
)
SELECT EXISTS (SELECT FROM above WHERE id = %(outer)s)
"""


async def is_inside(connection: AsyncConnection[Any], inner: int, outer: int) -> bool:
    """Whether a group is another, or in it, however deep."""
    row = await (await connection.execute(INSIDE, {"inner": inner, "outer": outer})).fetchone()
    return bool(row and row[0])
