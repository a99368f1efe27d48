"""What an administrator chose for all users (``PUT /api/server``)."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb


async def read_choices(connection: AsyncConnection[Any]) -> dict[str, Any]:
    """Those that were made."""
    row = await (await connection.execute("SELECT choices FROM core.server")).fetchone()
    return row[0] if row else {}


async def write_choices(connection: AsyncConnection[Any], choices: dict[str, Any]) -> None:
    """All of them."""
    await connection.execute("UPDATE core.server SET choices = %s", [Jsonb(choices)])
