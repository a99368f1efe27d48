"""Sessions and tokens: rows hold digests, never what was handed out."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row

from tracker_server.storage.users import is_there_an_admin

Kind = Literal["access", "share", "setup", "reset"]
SECRET_BYTES = 32
SETUP_DAYS = 7


class SessionRow(Struct, frozen=True):
    """A browser that signed in; ``token_digest``: of the token that opened it."""

    digest: bytes
    user_id: int
    token_digest: bytes | None
    actor_id: int | None
    seen_at: datetime
    expires_at: datetime


class TokenRow(Struct, frozen=True):
    """What was handed out. ``rights``: None for all that its user has."""

    digest: bytes
    id: int
    kind: str
    user_id: int | None
    device_id: int | None
    group_id: int | None
    rights: list[str] | None
    label: str
    created_at: datetime
    expires_at: datetime | None


def digest_of(secret: str) -> bytes:
    """Of what somebody presents. A long random secret needs no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def new_secret() -> str:
    """Nobody guesses it; letters, digits, - and _."""
    return secrets.token_urlsafe(SECRET_BYTES)


async def open_session(
    connection: AsyncConnection[Any],
    user_id: int,
    *,
    expires_at: datetime,
    token_digest: bytes | None = None,
    actor_id: int | None = None,
    address: str = "",
    agent: str = "",
) -> str:
    """A new session; answers what goes into the cookie."""
    secret = new_secret()
    await connection.execute(
        "INSERT INTO core.sessions (digest, user_id, token_digest, actor_id, address, agent, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [digest_of(secret), user_id, token_digest, actor_id, address, agent[:200], expires_at],
    )
    return secret


async def find_session(connection: AsyncConnection[Any], digest: bytes) -> SessionRow | None:
    """The session of that digest that has not ended by time."""
    async with connection.cursor(row_factory=class_row(SessionRow)) as cursor:
        await cursor.execute(
            "SELECT digest, user_id, token_digest, actor_id, seen_at, expires_at FROM core.sessions"
            " WHERE digest = %s AND expires_at > now()",
            [digest],
        )
        return await cursor.fetchone()


async def touch_session(connection: AsyncConnection[Any], digest: bytes, expires_at: datetime) -> None:
    """It is in use; it ends later."""
    await connection.execute(
        "UPDATE core.sessions SET seen_at = now(), expires_at = greatest(expires_at, %s) WHERE digest = %s",
        [expires_at, digest],
    )


async def end_session(connection: AsyncConnection[Any], digest: bytes) -> None:
    """It is over."""
    await connection.execute("DELETE FROM core.sessions WHERE digest = %s", [digest])


async def sweep_ended(connection: AsyncConnection[Any]) -> None:
    """Delete the sessions and tokens that have ended by time."""
    await connection.execute("DELETE FROM core.sessions WHERE expires_at <= now()")
    await connection.execute("DELETE FROM core.tokens WHERE expires_at <= now()")


async def end_sessions_of(connection: AsyncConnection[Any], user_id: int, but: bytes = b"") -> None:
    """All of a user's, and those of an administrator in his place, but one."""
    await connection.execute("DELETE FROM core.sessions WHERE user_id = %s AND digest <> %s", [user_id, but])


async def add_token(  # noqa: PLR0913  (each is a column)
    connection: AsyncConnection[Any],
    kind: Kind,
    *,
    user_id: int | None = None,
    expires_at: datetime | None = None,
    device_id: int | None = None,
    group_id: int | None = None,
    rights: list[str] | None = None,
    label: str = "",
) -> str:
    """A new token; answers what is handed out, once."""
    secret = new_secret()
    await connection.execute(
        "INSERT INTO core.tokens (digest, kind, user_id, device_id, group_id, rights, label, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [digest_of(secret), kind, user_id, device_id, group_id, rights, label, expires_at],
    )
    return secret


async def find_token(connection: AsyncConnection[Any], digest: bytes) -> TokenRow | None:
    """The token of that digest that has not ended by time."""
    async with connection.cursor(row_factory=class_row(TokenRow)) as cursor:
        await cursor.execute(
            "SELECT digest, id, kind, user_id, device_id, group_id, rights, label, created_at, expires_at"
            " FROM core.tokens WHERE digest = %s AND (expires_at IS NULL OR expires_at > now())",
            [digest],
        )
        return await cursor.fetchone()


async def take_token(connection: AsyncConnection[Any], digest: bytes, kind: Kind) -> int | None:
    """Use up what works once. Answers its user's id (0: it has none); None: there is no such token any more."""
    taken = await connection.execute(
        "DELETE FROM core.tokens WHERE digest = %s AND kind = %s AND (expires_at IS NULL OR expires_at > now())"
        " RETURNING coalesce(user_id, 0)",
        [digest, kind],
    )
    row = await taken.fetchone()
    return row[0] if row else None


async def tokens_of(connection: AsyncConnection[Any], user_id: int) -> list[TokenRow]:
    """What a user handed out and did not revoke."""
    async with connection.cursor(row_factory=class_row(TokenRow)) as cursor:
        await cursor.execute(
            "SELECT digest, id, kind, user_id, device_id, group_id, rights, label, created_at, expires_at"
            " FROM core.tokens WHERE user_id = %s AND kind IN ('access', 'share')"
            " AND (expires_at IS NULL OR expires_at > now()) ORDER BY id",
            [user_id],
        )
        return await cursor.fetchall()


async def revoke_token(
    connection: AsyncConnection[Any], user_id: int, *, digest: bytes = b"", token_id: int = 0
) -> bool:
    """End one of a user's tokens, and the sessions that it opened; whether there was one."""
    revoked = await connection.execute(
        "DELETE FROM core.tokens WHERE user_id = %s AND (digest = %s OR id = %s) AND kind IN ('access', 'share')",
        [user_id, digest, token_id],
    )
    return revoked.rowcount > 0


async def end_tokens(connection: AsyncConnection[Any], kind: Kind, user_id: int | None) -> None:
    """End all of a kind that a user has; of nobody for ``setup``."""
    await connection.execute(
        "DELETE FROM core.tokens WHERE kind = %s AND user_id IS NOT DISTINCT FROM %s", [kind, user_id]
    )


async def new_setup_token(connection: AsyncConnection[Any]) -> str | None:
    """What makes the first administrator; the one of an earlier start ends. None: there is one already."""
    async with connection.transaction():
        await end_tokens(connection, "setup", None)
        if await is_there_an_admin(connection):
            return None
        return await add_token(connection, "setup", expires_at=datetime.now(UTC) + timedelta(days=SETUP_DAYS))
