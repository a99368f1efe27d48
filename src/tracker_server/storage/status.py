"""What a database is like: its shape, its age, its size."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection

from tracker_server.storage.migrate import applied, known_migrations, missing_of


async def is_current(connection: AsyncConnection[Any]) -> bool:
    """Whether every migration of this program is applied. Raises MigrationError for one that does not fit."""
    return not missing_of(known_migrations(), await applied(connection))
