"""Which sessions brokers keep for us: ours of now, and those of processes and names that there were."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct
from psycopg import AsyncConnection

LOCK: Final = 0x6D656D62  # "memb": beside it a name's hash
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


async def hold_names(connection: AsyncConnection[Any], client_ids: Iterable[str]) -> None:
    """As long as this connection lives, no other server takes what goes by these names for left behind."""
    for client_id in client_ids:
        await connection.execute("SELECT pg_try_advisory_lock_shared(%s, hashtext(%s))", [LOCK, client_id])


async def is_nobodys(connection: AsyncConnection[Any], client_id: str) -> bool:
    """Whether no server that runs on this database goes by this name; while this connection lives, none will."""
    row = await (
        await connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", [LOCK, client_id])
    ).fetchone()
    assert row is not None
    return row[0]
