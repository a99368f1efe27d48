"""Logins, kept sessions and commands of the MQTT endpoint, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from tracker_server.pipeline.mqtt_book import Change, Fetched, Forgotten, Kept, Login, Mail, Moved, Way
from tracker_server.storage.commands import mark_sent

CHANNEL = "tracker_mqtt"


class LoginRow(Struct, frozen=True):
    """A login as its table has it, without its secret."""

    name: str
    devices: list[str]
    created_at: datetime


class MailRow(Struct, frozen=True):
    """A command that waits."""

    id: int
    unique_id: str
    topic: str
    payload: bytes
    created_at: datetime
    expires_at: datetime


async def read_logins(connection: AsyncConnection[Any]) -> list[Login]:
    """All logins."""
    rows = await connection.execute("SELECT name, digest, devices FROM core.mqtt_logins")
    return [Login(name, digest, frozenset(devices)) for name, digest, devices in await rows.fetchall()]


async def begin_expiry(connection: AsyncConnection[Any]) -> None:
    """When the server starts: the time of the sessions whose clients were here begins now."""
    await connection.execute(
        "UPDATE core.mqtt_sessions SET expires_at = now() + make_interval(secs => expiry_s) WHERE expires_at IS NULL"
    )


async def read_kept(connection: AsyncConnection[Any]) -> list[Kept]:
    """All sessions that are kept; those whose time is over are deleted."""
    await forget_old(connection)
    rows = await connection.execute(
        "SELECT client_id, user_name, filters, expiry_s, expires_at FROM core.mqtt_sessions"
    )
    return [Kept(*row) for row in await rows.fetchall()]


async def read_ways(connection: AsyncConnection[Any]) -> list[tuple[str, str, str]]:
    """All devices that were heard of through brokers, those of the longest ago first."""
    rows = await connection.execute("SELECT unique_id, broker, topic FROM core.mqtt_ways ORDER BY heard_at")
    return [(device, broker, topic) for device, broker, topic in await rows.fetchall()]


async def forget_old(connection: AsyncConnection[Any]) -> None:
    """Sessions whose time is over."""
    await connection.execute("DELETE FROM core.mqtt_sessions WHERE expires_at <= now()")


async def read_mail(connection: AsyncConnection[Any]) -> list[Mail]:
    """All commands that wait, oldest first; what is void is deleted."""
    await connection.execute("DELETE FROM core.mqtt_mail WHERE expires_at <= now()")
    rows = await connection.execute(
        "SELECT id, unique_id, topic, payload, expires_at FROM core.mqtt_mail ORDER BY id"
    )
    return [Mail(*row) for row in await rows.fetchall()]


KEEP = """
INSERT INTO core.mqtt_sessions (client_id, user_name, filters, expiry_s, expires_at) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (client_id) DO UPDATE SET user_name = excluded.user_name, filters = excluded.filters,
    expiry_s = excluded.expiry_s, expires_at = excluded.expires_at
"""


WAY = """
INSERT INTO core.mqtt_ways (unique_id, broker, topic) VALUES (%s, %s, %s)
ON CONFLICT (unique_id) DO UPDATE SET broker = excluded.broker, topic = excluded.topic, heard_at = now()
"""


async def write_changes(connection: AsyncConnection[Any], changes: Sequence[Change]) -> None:
    """All of them, in one transaction. Of each session only the last counts: a fleet that loses its network and comes
    back is a burst of them.
    """
    sessions: dict[str, Kept | Forgotten] = {}
    fetched: list[int] = []
    told: list[int] = []
    ways: dict[str, Way | Moved] = {}
    for change in changes:
        match change:
            case Kept() | Forgotten():
                sessions[change.client_id] = change
            case Fetched():
                (told if change.mail.ordered else fetched).append(change.mail.id)
            case Way() | Moved():
                ways[change.device] = change
    kept = [one for one in sessions.values() if isinstance(one, Kept)]
    gone = [one.client_id for one in sessions.values() if isinstance(one, Forgotten)]
    async with connection.transaction(), connection.cursor() as cursor:
        if kept:
            rows = [(k.client_id, k.user, Jsonb(k.filters), k.expiry_s, k.expires_at) for k in kept]
            await cursor.executemany(KEEP, rows)
        if gone:
            await cursor.execute("DELETE FROM core.mqtt_sessions WHERE client_id = ANY(%s)", [gone])
        known = [(w.device, w.broker, w.topic) for w in ways.values() if isinstance(w, Way)]
        if known:
            await cursor.executemany(WAY, known)
        moved = [one.device for one in ways.values() if isinstance(one, Moved)]
        if moved:
            await cursor.execute("DELETE FROM core.mqtt_ways WHERE unique_id = ANY(%s)", [moved])
        if fetched:
            await cursor.execute("DELETE FROM core.mqtt_mail WHERE id = ANY(%s)", [fetched])
        if told:
            await mark_sent(connection, told)


# ------------------------------------------------------------------------------------------- for commands


async def put_login(
    connection: AsyncConnection[Any], name: str, digest: bytes, devices: Sequence[str]
) -> bool:
    """Add a login, or give one a new secret and other devices; answers whether it is new."""
    row = await (
        await connection.execute(
            "INSERT INTO core.mqtt_logins (name, digest, devices) VALUES (%s, %s, %s)"
            " ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, devices = excluded.devices"
            " RETURNING xmax = 0",
            [name, digest, list(devices)],
        )
    ).fetchone()
    assert row is not None
    return row[0]


async def remove_login(connection: AsyncConnection[Any], name: str) -> bool:
    """Whether there was one."""
    gone = await connection.execute("DELETE FROM core.mqtt_logins WHERE name = %s", [name])
    return gone.rowcount > 0


async def logins(connection: AsyncConnection[Any]) -> list[LoginRow]:
    """All, by name."""
    rows = await connection.execute("SELECT name, devices, created_at FROM core.mqtt_logins ORDER BY name")
    return [LoginRow(*row) for row in await rows.fetchall()]


async def put_mail(
    connection: AsyncConnection[Any], unique_id: str, topic: str, payload: bytes, hours: int
) -> int:
    """Let a command wait for its device; answers its number."""
    row = await (
        await connection.execute(
            "INSERT INTO core.mqtt_mail (unique_id, topic, payload, expires_at)"
            " VALUES (%s, %s, %s, now() + make_interval(hours => %s)) RETURNING id",
            [unique_id, topic, payload, hours],
        )
    ).fetchone()
    assert row is not None
    return row[0]


async def mail(connection: AsyncConnection[Any]) -> list[MailRow]:
    """All that waits, oldest first."""
    rows = await connection.execute(
        "SELECT id, unique_id, topic, payload, created_at, expires_at FROM core.mqtt_mail"
        " WHERE expires_at > now() ORDER BY id"
    )
    return [MailRow(*row) for row in await rows.fetchall()]
