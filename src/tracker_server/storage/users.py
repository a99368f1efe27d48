"""Users' rows, and which trackers were linked to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

from msgspec import Struct, field
from psycopg import AsyncConnection, sql
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

CHANNEL = "tracker_people"
EMAIL_INDEX = "users_email"

COLUMNS: LiteralString = """
u.id, u.email, u.name, u.role, u.account_id, u.restricted, u.password, u.totp_key, u.readonly, u.device_readonly,
u.limit_commands, u.disable_reports, u.fixed_email, u.device_limit, u.user_limit, u.disabled, u.expires_at, u.phone,
u.preferences, u.attributes, u.created_by, u.created_at
"""
LINKED: LiteralString = """
WITH RECURSIVE mine AS (
    SELECT object_id AS id FROM core.links WHERE owner = 'user' AND owner_id = %(user)s AND kind = 'group'
    UNION
    SELECT g.id FROM core.groups g JOIN mine ON g.group_id = mine.id
)
SELECT d.id FROM core.devices d
WHERE d.removed_at IS NULL AND (
    d.group_id IN (SELECT id FROM mine)
    OR d.id IN (SELECT object_id FROM core.links WHERE owner = 'user' AND owner_id = %(user)s AND kind = 'device')
)
"""
SHARED: LiteralString = """
WITH RECURSIVE shared AS (
    SELECT id FROM core.groups WHERE id = %(group)s
    UNION
    SELECT g.id FROM core.groups g JOIN shared ON g.group_id = shared.id
)
SELECT id, account_id FROM core.devices
WHERE removed_at IS NULL AND (id = %(device)s OR group_id IN (SELECT id FROM shared))
"""


class EmailTakenError(Exception):
    """Somebody signs in by that e-mail address already."""


class UserRow(Struct, frozen=True, kw_only=True):
    """A user. ``password``: its argon2 hash. ``role``: a ``model.people.Role``."""

    email: str
    name: str
    role: str
    account_id: int | None = None
    id: int = 0
    restricted: bool = False
    password: str | None = None
    totp_key: str | None = None
    readonly: bool = False
    device_readonly: bool = False
    limit_commands: bool = False
    disable_reports: bool = False
    fixed_email: bool = False
    device_limit: int = -1
    user_limit: int = 0
    disabled: bool = False
    expires_at: datetime | None = None
    phone: str = ""
    preferences: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    created_by: int | None = None
    created_at: datetime | None = None

    def ended(self, now: datetime) -> bool:
        """Whether he is let in no longer."""
        return self.disabled or (self.expires_at is not None and self.expires_at <= now)


WRITTEN = tuple(name for name in UserRow.__struct_fields__ if name not in {"id", "created_at"})


async def _one(
    connection: AsyncConnection[Any], where: LiteralString, parameters: Sequence[Any]
) -> UserRow | None:
    async with connection.cursor(row_factory=class_row(UserRow)) as cursor:
        await cursor.execute(f"SELECT {COLUMNS} FROM core.users u WHERE {where}", parameters)  # noqa: S608
        return await cursor.fetchone()


async def user_by_id(connection: AsyncConnection[Any], user_id: int) -> UserRow | None:
    """The user of that id."""
    return await _one(connection, "u.id = %s", [user_id])


async def user_by_email(connection: AsyncConnection[Any], email: str) -> UserRow | None:
    """The user who signs in by that address, however it is capitalised."""
    return await _one(connection, "lower(u.email) = lower(%s)", [email])


async def list_users(
    connection: AsyncConnection[Any],
    *,
    account_id: int | None = None,
    created_by: int | None = None,
    linked: tuple[str, int] | None = None,
) -> list[UserRow]:
    """All users, an account's, or those whom one made; with ``linked``, those to whom that object was given."""
    kind, object_id = linked or (None, None)
    async with connection.cursor(row_factory=class_row(UserRow)) as cursor:
        await cursor.execute(
            f"""SELECT {COLUMNS} FROM core.users u
            WHERE (%(account)s::bigint IS NULL OR u.account_id = %(account)s)
              AND (%(maker)s::bigint IS NULL OR u.created_by = %(maker)s)
              AND (%(kind)s::text IS NULL OR EXISTS (
                  SELECT FROM core.links l
                  WHERE l.owner = 'user' AND l.owner_id = u.id AND l.kind = %(kind)s AND l.object_id = %(object)s))
            ORDER BY u.id""",  # noqa: S608
            {"account": account_id, "maker": created_by, "kind": kind, "object": object_id},
        )
        return await cursor.fetchall()


async def add_user(connection: AsyncConnection[Any], user: UserRow) -> int:
    """A new user's id. Raises EmailTakenError."""
    statement = sql.SQL("INSERT INTO core.users ({}) VALUES ({}) RETURNING id").format(
        sql.SQL(", ").join(map(sql.Identifier, WRITTEN)), sql.SQL(", ").join(sql.Placeholder() * len(WRITTEN))
    )
    try:
        row = await (await connection.execute(statement, _values(user))).fetchone()
    except UniqueViolation as error:
        raise _taken(error) from error
    assert row is not None
    return row[0]


async def update_user(connection: AsyncConnection[Any], user: UserRow) -> bool:
    """Write all that may change; whether the user is there. Raises EmailTakenError."""
    statement = sql.SQL("UPDATE core.users SET ({}) = ROW ({}) WHERE id = %s").format(
        sql.SQL(", ").join(map(sql.Identifier, WRITTEN)), sql.SQL(", ").join(sql.Placeholder() * len(WRITTEN))
    )
    try:
        return (await connection.execute(statement, [*_values(user), user.id])).rowcount > 0
    except UniqueViolation as error:
        raise _taken(error) from error


def _taken(error: UniqueViolation) -> Exception:
    return EmailTakenError() if error.diag.constraint_name == EMAIL_INDEX else error


def _values(user: UserRow) -> list[Any]:
    values = [getattr(user, name) for name in WRITTEN]
    return [Jsonb(value) if isinstance(value, dict) else value for value in values]


async def remove_user(connection: AsyncConnection[Any], user_id: int) -> bool:
    """Whether there was one; sessions, tokens and links go with him."""
    async with connection.transaction():
        await connection.execute("DELETE FROM core.links WHERE owner = 'user' AND owner_id = %s", [user_id])
        removed = await connection.execute("DELETE FROM core.users WHERE id = %s", [user_id])
        return removed.rowcount > 0


async def set_password(connection: AsyncConnection[Any], user_id: int, password: str | None) -> bool:
    """A new hash; whether the user is there."""
    changed = await connection.execute(
        "UPDATE core.users SET password = %s WHERE id = %s", [password, user_id]
    )
    return changed.rowcount > 0


async def is_there_an_admin(connection: AsyncConnection[Any]) -> bool:
    """Whether anybody can administer the server."""
    found = await connection.execute("SELECT EXISTS (SELECT FROM core.users WHERE role = 'admin')")
    row = await found.fetchone()
    return bool(row and row[0])


async def use_totp_step(connection: AsyncConnection[Any], user_id: int, step: int) -> bool:
    """Use up the codes of a time step and of those before it; False: they have been."""
    done = await connection.execute(
        "UPDATE core.users SET totp_step = %s WHERE id = %s AND totp_step < %s", [step, user_id, step]
    )
    return done.rowcount == 1


async def linked_devices(connection: AsyncConnection[Any], user_id: int) -> frozenset[int]:
    """Trackers linked to a user, one by one or by a group (and the groups in it)."""
    rows = await connection.execute(LINKED, {"user": user_id})
    return frozenset(device_id for (device_id,) in await rows.fetchall())


async def shared_devices(
    connection: AsyncConnection[Any], device_id: int | None, group_id: int | None
) -> dict[int, int]:
    """What a share link shows, with each tracker's account."""
    rows = await connection.execute(SHARED, {"device": device_id, "group": group_id})
    return dict(await rows.fetchall())


async def set_maker(connection: AsyncConnection[Any], user_id: int, maker_id: int | None) -> None:
    """Who manages a user, besides those who manage all."""
    await connection.execute("UPDATE core.users SET created_by = %s WHERE id = %s", [maker_id, user_id])


async def count_made(connection: AsyncConnection[Any], maker_id: int) -> int:
    """How many users one manages; for his ``user_limit``."""
    row = await (
        await connection.execute("SELECT count(*) FROM core.users WHERE created_by = %s", [maker_id])
    ).fetchone()
    return row[0] if row else 0


async def count_admins(connection: AsyncConnection[Any]) -> int:
    """How many can administer the server; they are locked until the transaction ends."""
    rows = await connection.execute(
        "SELECT id FROM core.users WHERE role = 'admin' AND NOT disabled FOR UPDATE"
    )
    return len(await rows.fetchall())
