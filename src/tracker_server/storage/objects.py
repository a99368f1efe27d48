"""What accounts keep beside trackers, whatever it is: rows of a table in ``core`` with an id and an account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tracker_server.model.people import Principal, Role
from tracker_server.storage.allowed import Kept, his

Row = dict[str, Any]


async def list_objects(
    connection: AsyncConnection[Any],
    kept: Kept,
    principal: Principal,
    *,
    ids: list[int] | None = None,
    linked: tuple[str, int] | None = None,
) -> list[Row]:
    """Those that are there for him, by id; with ``linked``, those linked to that (``device`` or ``group``) alone."""
    if principal.role is Role.GUEST:
        return []
    first, condition, parameters = his(kept, principal)
    owner, owner_id = linked or (None, None)
    statement = sql.SQL(
        """{} SELECT o.* FROM core.{} o WHERE {} AND (%(ids)s::bigint[] IS NULL OR o.id = ANY(%(ids)s))
        AND (%(owner)s::text IS NULL OR EXISTS (
            SELECT FROM core.links l WHERE l.owner = %(owner)s AND l.owner_id = %(owner_id)s AND l.kind = %(kind)s
              AND l.object_id = o.id))
        ORDER BY o.id"""
    ).format(first, sql.Identifier(kept.table), condition)
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, {**parameters, "ids": ids, "owner": owner, "owner_id": owner_id})
        return await cursor.fetchall()


async def read_object(connection: AsyncConnection[Any], kept: Kept, number: int) -> Row | None:
    """The one of that id, whosoever it is."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            sql.SQL("SELECT o.* FROM core.{} o WHERE o.id = %s AND {}").format(
                sql.Identifier(kept.table), sql.SQL(kept.there)
            ),
            [number],
        )
        return await cursor.fetchone()


async def add_object(connection: AsyncConnection[Any], kept: Kept, values: Mapping[str, Any]) -> int:
    """Its id."""
    statement = sql.SQL("INSERT INTO core.{} ({}) VALUES ({}) RETURNING id").format(
        sql.Identifier(kept.table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(sql.Placeholder() * len(values)),
    )
    row = await (await connection.execute(statement, _adapted(values))).fetchone()
    assert row is not None
    return row[0]


async def change_object(
    connection: AsyncConnection[Any], kept: Kept, number: int, values: Mapping[str, Any]
) -> bool:
    """Whether it is there."""
    statement = sql.SQL("UPDATE core.{} SET ({}) = ROW ({}) WHERE id = %s").format(
        sql.Identifier(kept.table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(sql.Placeholder() * len(values)),
    )
    return (await connection.execute(statement, [*_adapted(values), number])).rowcount > 0


async def remove_object(connection: AsyncConnection[Any], kept: Kept, number: int) -> bool:
    """Whether it was there; its links go with it."""
    async with connection.transaction():
        await remove_links(connection, kept.link, number)
        removed = await connection.execute(
            sql.SQL("DELETE FROM core.{} WHERE id = %s").format(sql.Identifier(kept.table)), [number]
        )
        return removed.rowcount > 0


async def remove_links(connection: AsyncConnection[Any], link: str, number: int) -> None:
    """All that an object was linked to, and all that was linked to it."""
    await connection.execute(
        "DELETE FROM core.links WHERE (kind = %(kind)s AND object_id = %(id)s) OR (owner = %(kind)s AND owner_id = %(id)s)",
        {"kind": link, "id": number},
    )


async def link(
    connection: AsyncConnection[Any], owner: str, owner_id: int, kind: str, object_id: int
) -> None:
    """Give it; twice is once."""
    await connection.execute(
        "INSERT INTO core.links (owner, owner_id, kind, object_id) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [owner, owner_id, kind, object_id],
    )


async def unlink(
    connection: AsyncConnection[Any], owner: str, owner_id: int, kind: str, object_id: int
) -> None:
    """Take it away; also where it was not given."""
    await connection.execute(
        "DELETE FROM core.links WHERE owner = %s AND owner_id = %s AND kind = %s AND object_id = %s",
        [owner, owner_id, kind, object_id],
    )


async def accounts_of(
    connection: AsyncConnection[Any], table: str, numbers: list[int]
) -> dict[int, int | None]:
    """Each one's account."""
    rows = await connection.execute(
        sql.SQL("SELECT id, account_id FROM core.{} WHERE id = ANY(%s)").format(sql.Identifier(table)),
        [numbers],
    )
    return dict(await rows.fetchall())


async def account_named(connection: AsyncConnection[Any], name: str) -> int | None:
    """Its id."""
    row = await (await connection.execute("SELECT id FROM core.accounts WHERE name = %s", [name])).fetchone()
    return row[0] if row else None


def _adapted(values: Mapping[str, Any]) -> list[Any]:
    return [Jsonb(value) if isinstance(value, dict) else value for value in values.values()]
