"""What waits to be published to a broker, read through the gate: of a hidden tracker there is nothing to read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import dict_row

LOCK = 0x6D717474  # "mqtt": of several servers on one database, one publishes

# A row of a view is asked for by itself (LATERAL) and not joined (OFFSET 0): where PostgreSQL knows nothing of core.devices, which
# it never analyses while there are few, it reads the whole view for each row of the other side.
QUEUED = "SELECT id, kind, device_id, at, reference FROM core.mqtt_queue ORDER BY id LIMIT %s"
POSITIONS = """
SELECT q.id AS queued, p.id, p.device_id, p.unique_id, d.name, a.name AS account, p.fixed_at, p.received_at, p.latitude,
       p.longitude, p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol, p.attributes,
       s.latest_fixed_at = p.fixed_at AND s.latest_digest = p.digest AS latest
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::bigint[]) AS q (id, device_id, at, reference)
CROSS JOIN LATERAL (
    SELECT * FROM display.positions WHERE device_id = q.device_id AND fixed_at = q.at AND id = q.reference OFFSET 0
) p
JOIN core.devices d ON d.id = p.device_id JOIN core.accounts a ON a.id = p.account_id
JOIN core.device_state s ON s.device_id = d.id
"""
EVENTS = """
SELECT q.id AS queued, e.id, e.device_id, e.unique_id, d.name, a.name AS account, e.type, e.occurred_at, e.attributes,
       e.superseded, e.fence
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::bigint[]) AS q (id, device_id, at, reference)
CROSS JOIN LATERAL (
    SELECT * FROM display.events WHERE device_id = q.device_id AND occurred_at = q.at AND id = q.reference OFFSET 0
) e
JOIN core.devices d ON d.id = e.device_id JOIN core.accounts a ON a.id = e.account_id
"""
# visible trackers of which the broker keeps nothing: new ones, and those that were hidden until now
FRESH = """
SELECT p.id AS queued, p.id, p.device_id, p.unique_id, d.name, a.name AS account, p.fixed_at, p.received_at, p.latitude,
       p.longitude, p.altitude_m, p.speed_mps, p.course_deg, p.accuracy_m, p.valid, p.protocol, p.attributes, true AS latest,
       coalesce(s.online, false) AS online, coalesce(s.contact_at, p.received_at) AS contact_at
FROM display.devices v JOIN core.devices d ON d.id = v.id JOIN core.accounts a ON a.id = d.account_id
JOIN core.device_state s ON s.device_id = d.id
CROSS JOIN LATERAL (
    SELECT * FROM display.positions
    WHERE device_id = d.id AND fixed_at = s.latest_fixed_at AND digest = s.latest_digest OFFSET 0
) p
WHERE NOT EXISTS (SELECT FROM core.mqtt_retained r WHERE r.device_id = d.id)
ORDER BY d.id LIMIT %s
"""
GONE = """
SELECT r.topic FROM core.mqtt_retained r
WHERE NOT EXISTS (SELECT FROM display.devices v WHERE v.id = r.device_id) ORDER BY r.topic LIMIT %s
"""


class Queued(Struct, frozen=True):
    """One thing to be published."""

    id: int
    kind: str
    device_id: int
    at: datetime
    reference: int


async def set_publishing(connection: AsyncConnection[Any], *, positions: bool, events: bool) -> None:
    """From now on positions and events are queued, or no longer. As the owner."""
    await connection.execute("SELECT core.set_mqtt_publishing(%s, %s)", [positions, events])


async def take_lead(connection: AsyncConnection[Any]) -> bool:
    """Whether this connection is the one that publishes, for as long as it lasts."""
    row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])).fetchone()
    assert row is not None
    return row[0]


async def read_queue(connection: AsyncConnection[Any], limit: int) -> list[Queued]:
    """The oldest that wait."""
    rows = await connection.execute(QUEUED, [limit])
    return [Queued(*row) for row in await rows.fetchall()]


async def read_visible(
    connection: AsyncConnection[Any], queued: Sequence[Queued]
) -> dict[int, dict[str, Any]]:
    """Of these, by number, what may be shown now."""
    found: dict[int, dict[str, Any]] = {}
    for kind, statement in (("position", POSITIONS), ("event", EVENTS)):
        mine = [one for one in queued if one.kind == kind]
        if not mine:
            continue
        columns = [[getattr(one, name) for one in mine] for name in ("id", "device_id", "at", "reference")]
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement.encode(), columns)
            found |= {row.pop("queued"): row for row in await cursor.fetchall()}
    return found


async def read_fresh(connection: AsyncConnection[Any], limit: int) -> list[dict[str, Any]]:
    """The latest position of trackers of which the broker keeps nothing yet."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(FRESH.encode(), [limit])
        return await cursor.fetchall()


async def read_gone(connection: AsyncConnection[Any], limit: int) -> list[str]:
    """Topics under which the broker keeps something of a tracker that is hidden or removed."""
    rows = await connection.execute(GONE, [limit])
    return [topic for (topic,) in await rows.fetchall()]


async def note_retained(connection: AsyncConnection[Any], topics: Sequence[tuple[str, int]]) -> None:
    """Before they are published: the broker may keep something there from now on."""
    if topics:
        await connection.execute(
            "INSERT INTO core.mqtt_retained (topic, device_id) SELECT DISTINCT ON (topic) topic, device_id"
            " FROM unnest(%s::text[], %s::bigint[]) AS u (topic, device_id)"
            " ON CONFLICT (topic) DO UPDATE SET device_id = excluded.device_id",
            [[topic for topic, _ in topics], [device for _, device in topics]],
        )


async def forget_retained(connection: AsyncConnection[Any], topics: Sequence[str]) -> None:
    """The broker keeps nothing there any more."""
    await connection.execute("DELETE FROM core.mqtt_retained WHERE topic = ANY(%s)", [list(topics)])


async def done(connection: AsyncConnection[Any], ids: Sequence[int]) -> None:
    """Published, or of a tracker that is hidden."""
    await connection.execute("DELETE FROM core.mqtt_queue WHERE id = ANY(%s)", [list(ids)])
