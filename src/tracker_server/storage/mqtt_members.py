"""Which sessions brokers keep for us: ours of now, and those of processes that there were."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection

PUT = """
INSERT INTO core.mqtt_members (broker, client_id, process, filters) VALUES (%s, %s, %s, %s)
ON CONFLICT (broker, client_id, process) DO UPDATE SET filters = excluded.filters
"""


class Member(Struct, frozen=True):
    """A session at the broker of this name in the settings. ``client_id`` as the settings have it, without the ``process``."""

    broker: str
    client_id: str
    process: int
    filters: tuple[str, ...]


async def read_members(connection: AsyncConnection[Any]) -> list[Member]:
    """All that were written down."""
    rows = await connection.execute("SELECT broker, client_id, process, filters FROM core.mqtt_members")
    return [
        Member(broker, client_id, process, tuple(filters))
        for broker, client_id, process, filters in await rows.fetchall()
    ]


async def put_member(connection: AsyncConnection[Any], member: Member) -> None:
    """Write down to what it is subscribed."""
    await connection.execute(PUT, [member.broker, member.client_id, member.process, list(member.filters)])


async def remove_member(connection: AsyncConnection[Any], member: Member) -> None:
    """Its broker keeps nothing for it any more."""
    await connection.execute(
        "DELETE FROM core.mqtt_members WHERE broker = %s AND client_id = %s AND process = %s",
        [member.broker, member.client_id, member.process],
    )
