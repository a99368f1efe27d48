"""Pictures of vehicles, one for each tracker, under names of our own."""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection

KEEP: LiteralString = """
INSERT INTO core.pictures (device_id, name, content) VALUES (%(device)s, %(name)s, %(content)s)
ON CONFLICT (device_id) DO UPDATE SET name = excluded.name, content = excluded.content
"""
READ: LiteralString = (
    "SELECT content FROM core.pictures WHERE device_id = ANY(%(devices)s) AND name = %(name)s LIMIT 1"
)


async def keep_picture(connection: AsyncConnection[Any], device_id: int, name: str, content: bytes) -> None:
    """In place of the one before."""
    await connection.execute(KEEP, {"device": device_id, "name": name, "content": content})


async def read_picture(connection: AsyncConnection[Any], device_ids: list[int], name: str) -> bytes | None:
    """The content of that name, where one of these trackers has it."""
    found = await connection.execute(READ, {"devices": device_ids, "name": name}, binary=True)
    row = await found.fetchone()
    return None if row is None else bytes(row[0])
