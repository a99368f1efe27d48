"""What people changed, append-only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from tracker_server.model.people import Principal


class AuditRow(Struct, frozen=True):
    """One thing that was done. ``user_id``: in whose name; ``actor_id``: who it was, where that is another."""

    id: int
    at: datetime
    account_id: int | None
    user_id: int | None
    actor_id: int | None
    address: str
    action: str
    kind: str
    object_id: int | None
    detail: dict[str, Any]


async def note(  # noqa: PLR0913  (each is a column)
    connection: AsyncConnection[Any],
    action: str,
    *,
    by: Principal | None = None,
    user_id: int | None = None,
    kind: str = "",
    object_id: int | None = None,
    address: str = "",
    detail: dict[str, Any] | None = None,
) -> None:
    """Write it down, in the transaction of what was done."""
    await connection.execute(
        "INSERT INTO core.audit (account_id, user_id, actor_id, address, action, kind, object_id, detail)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            by.account_id if by else None,
            by.user_id if by else user_id,
            by.actor_id if by else None,
            address,
            action,
            kind,
            object_id,
            Jsonb(detail or {}),
        ],
    )


async def audit(
    connection: AsyncConnection[Any],
    *,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    before_id: int | None = None,
) -> list[AuditRow]:
    """The newest first."""
    async with connection.cursor(row_factory=class_row(AuditRow)) as cursor:
        await cursor.execute(
            "SELECT id, at, account_id, user_id, actor_id, address, action, kind, object_id, detail FROM core.audit"
            " WHERE (%(since)s::timestamptz IS NULL OR at >= %(since)s)"
            " AND (%(until)s::timestamptz IS NULL OR at <= %(until)s)"
            " AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s",
            {"since": since, "until": until, "before": before_id, "limit": limit},
        )
        return await cursor.fetchall()
