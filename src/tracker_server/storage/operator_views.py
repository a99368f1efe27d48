"""What the operator looks at: who knocked and is not known, what lies in quarantine, how busy it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row

from tracker_server.pipeline.quarantine import QuarantineReason

UNKNOWN = """
SELECT unique_id, min(protocol) AS protocol, min(received_at) AS first_at, max(received_at) AS last_at,
       count(*) AS frames, sum(reports)::bigint AS reports
FROM core.quarantine WHERE reason = %s AND unique_id <> '' GROUP BY unique_id ORDER BY max(received_at) DESC LIMIT %s
"""
QUARANTINE = """
SELECT id, received_at, unique_id, protocol, transport, remote, reason, detail, reports,
       length(frame) AS frame_bytes, encode(substring(frame FOR 2048), 'hex') AS frame
FROM core.quarantine WHERE %(before)s::bigint IS NULL OR id < %(before)s ORDER BY id DESC LIMIT %(limit)s
"""
BUSY = """
SELECT (SELECT count(DISTINCT user_id) FROM core.sessions WHERE seen_at > now() - interval '1 day'),
       (SELECT count(*) FROM core.device_state WHERE contact_at > now() - interval '1 day')
"""


class Knocked(Struct, frozen=True):
    """Somebody who sends and is no tracker of ours."""

    unique_id: str
    protocol: str
    first_at: datetime
    last_at: datetime
    frames: int
    reports: int


class Quarantined(Struct, frozen=True):
    """A frame, its first 2 KB in hexadecimal."""

    id: int
    received_at: datetime
    unique_id: str
    protocol: str
    transport: str
    remote: str
    reason: str
    detail: str
    reports: int
    frame_bytes: int
    frame: str


async def knocked(connection: AsyncConnection[Any], limit: int) -> list[Knocked]:
    """Who called last first."""
    async with connection.cursor(row_factory=class_row(Knocked)) as cursor:
        await cursor.execute(UNKNOWN, [QuarantineReason.UNKNOWN_DEVICE, limit])
        return await cursor.fetchall()


async def quarantined(
    connection: AsyncConnection[Any], limit: int, before_id: int | None
) -> list[Quarantined]:
    """What was kept last first; ``before_id``: only what was kept before that one."""
    async with connection.cursor(row_factory=class_row(Quarantined)) as cursor:
        await cursor.execute(QUARANTINE, {"before": before_id, "limit": limit})
        return await cursor.fetchall()


async def busy(connection: AsyncConnection[Any]) -> tuple[int, int]:
    """Users with a session and trackers that were heard, in the last day."""
    row = await (await connection.execute(BUSY)).fetchone()
    assert row is not None
    return row[0], row[1]
