"""Trackers' cards: found among those that somebody may see, and changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.types.json import Jsonb

from tracker_server.model.people import IN_SCOPE, Scope

FIND: LiteralString = f"""
SELECT c.device_id, c.account_id FROM display.cards c
WHERE {IN_SCOPE}
  AND (%(ids)s::bigint[] IS NULL OR device_id = ANY(%(ids)s))
  AND (%(names)s::text[] IS NULL OR unique_id = ANY(%(names)s))
  AND (%(group)s::bigint IS NULL OR group_id = %(group)s)
  AND (%(shown)s IS FALSE OR EXISTS (SELECT FROM display.devices d WHERE d.id = c.device_id))
  AND (%(keyword)s::text IS NULL OR strpos(lower(concat_ws(' ', name, unique_id, phone, model, contact)), lower(%(keyword)s)) > 0)
ORDER BY device_id LIMIT %(limit)s OFFSET %(offset)s
"""  # noqa: S608


async def find_cards(  # noqa: PLR0913  (each is a filter)
    connection: AsyncConnection[Any],
    scope: Scope,
    *,
    shown: bool,
    ids: Sequence[int] | None = None,
    unique_ids: Sequence[str] | None = None,
    group_id: int | None = None,
    keyword: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> dict[int, int]:
    """Those that fit, by id, each with its account; ``shown``: without hidden ones. ``Role.DISPLAY``."""
    rows = await connection.execute(
        FIND,
        {
            **scope.parameters(),
            "ids": list(ids) if ids else None,
            "names": list(unique_ids) if unique_ids else None,
            "group": group_id,
            "shown": shown,
            "keyword": keyword or None,
            "limit": limit or None,
            "offset": offset,
        },
    )
    return dict(await rows.fetchall())


async def count_cards(connection: AsyncConnection[Any], scope: Scope) -> int:
    """How many trackers somebody has, hidden or not; for his limit."""
    return len(await find_cards(connection, scope, shown=False))


async def change_card(connection: AsyncConnection[Any], device_id: int, values: Mapping[str, Any]) -> bool:
    """Write these columns of a connected tracker; whether it is there."""
    statement = sql.SQL(
        "UPDATE core.devices SET ({}) = ROW ({}) WHERE id = %s AND removed_at IS NULL"
    ).format(
        sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(sql.Placeholder() * len(values))
    )
    adapted = [Jsonb(value) if isinstance(value, dict) else value for value in values.values()]
    return (await connection.execute(statement, [*adapted, device_id])).rowcount > 0


async def card_named(connection: AsyncConnection[Any], device_id: int) -> str | None:
    """The identifier of a connected tracker."""
    row = await (
        await connection.execute(
            "SELECT unique_id FROM core.devices WHERE id = %s AND removed_at IS NULL", [device_id]
        )
    ).fetchone()
    return row[0] if row else None
