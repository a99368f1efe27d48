"""The queue of what devices are to be told: written by people and rules, read by the desk, listed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, LiteralString

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from tracker_protocols.model import Attributes

COMMAND_COLUMNS = (
    "id", "unique_id", "state", "type", "attributes", "created_by", "created_at", "expires_at", "sent_at",
    "answered_at", "result", "error",
)  # fmt: skip

WAITS: LiteralString = "sent_at IS NULL AND failed_at IS NULL"
STATE: LiteralString = """CASE WHEN failed_at IS NOT NULL THEN 'failed' WHEN answered_at IS NOT NULL THEN 'answered'
    WHEN sent_at IS NOT NULL THEN 'sent' WHEN expires_at <= now() THEN 'expired' ELSE 'queued' END"""
QUEUE = """
INSERT INTO core.command_queue (device_id, type, attributes, operator, created_by, expires_at)
VALUES (%s, %s, %s, %s, %s, %s) RETURNING id
"""
WAITING_DEVICES = f"SELECT DISTINCT device_id FROM core.command_queue WHERE {WAITS} AND expires_at > now()"  # noqa: S608
WAITING = f"""
SELECT id, type, attributes, operator, expires_at FROM core.command_queue
WHERE device_id = %s AND {WAITS} AND expires_at > now() ORDER BY id FOR UPDATE SKIP LOCKED
"""  # noqa: S608
CANCEL = f"DELETE FROM core.command_queue WHERE id = ANY(%s) AND {WAITS} RETURNING id"  # noqa: S608
LIST: LiteralString = f"""
SELECT q.id, q.unique_id, {STATE} AS state, q.type, q.attributes, q.created_by, q.created_at, q.expires_at, q.sent_at,
       q.answered_at, q.result, q.error
FROM {{table}} q
WHERE (%(device)s::text IS NULL OR q.unique_id = %(device)s) AND (%(account)s::bigint IS NULL OR q.account_id = %(account)s)
ORDER BY q.id DESC LIMIT %(limit)s
"""  # noqa: S608
ALL_COMMANDS: LiteralString = "(SELECT c.*, d.unique_id, d.account_id FROM core.command_queue c JOIN core.devices d ON d.id = c.device_id)"


class Waiting(Struct, frozen=True):
    """One command that is to go out."""

    id: int
    type: str
    attributes: Attributes
    operator: bool
    expires_at: datetime


class NewCommand(Struct, frozen=True):
    """A command to be queued. ``operator``: his own order, so it goes out while the tracker is hidden."""

    device_id: int
    type: str
    attributes: Attributes
    expires_at: datetime
    operator: bool = False
    created_by: str = ""


async def queue(connection: AsyncConnection[Any], new: NewCommand) -> int:
    """Write it down, in the transaction that the caller may have open; answers its number."""
    values = (new.device_id, new.type, Jsonb(new.attributes), new.operator, new.created_by, new.expires_at)
    row = await (await connection.execute(QUEUE, values)).fetchone()
    assert row is not None
    return int(row[0])


async def state_of(connection: AsyncConnection[Any], command_id: int) -> str | None:
    """``queued``, ``sent``, ``answered``, ``failed`` or ``expired``; None where there is no such command."""
    found = await connection.execute(f"SELECT {STATE} FROM core.command_queue WHERE id = %s", [command_id])  # noqa: S608
    row = await found.fetchone()
    return row[0] if row else None


async def devices_with_commands(connection: AsyncConnection[Any]) -> set[int]:
    """Trackers that have something to be told."""
    return {row[0] for row in await (await connection.execute(WAITING_DEVICES)).fetchall()}


async def waiting(connection: AsyncConnection[Any], device_id: int) -> list[Waiting]:
    """What this tracker is to be told, oldest first, locked for the transaction that the caller has open."""
    async with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        return await (await cursor.execute(WAITING, [device_id])).fetchall()


async def mark_sent(connection: AsyncConnection[Any], ids: list[int]) -> None:
    """They went out."""
    await connection.execute(
        "UPDATE core.command_queue SET sent_at = now() WHERE id = ANY(%s) AND sent_at IS NULL AND failed_at IS NULL",
        [ids],
    )


async def mark_offered(connection: AsyncConnection[Any], ids: list[int]) -> None:
    """They are on their way to a device that acknowledges what it gets."""
    await connection.execute(
        "UPDATE core.command_queue SET offered_at = now() WHERE id = ANY(%s) AND offered_at IS NULL", [ids]
    )


async def mark_failed(connection: AsyncConnection[Any], command_id: int, error: str) -> None:
    """It cannot be told to this device."""
    await connection.execute(
        "UPDATE core.command_queue SET failed_at = now(), error = %s WHERE id = %s", [error[:500], command_id]
    )


async def cancel(connection: AsyncConnection[Any], ids: list[int]) -> list[int]:
    """Take back what has not gone out; answers which that were."""
    rows = await connection.execute(
        CANCEL,
        [ids],
    )
    return [row[0] for row in await rows.fetchall()]


async def commands(
    connection: AsyncConnection[Any],
    *,
    gated: bool,
    unique_id: str | None = None,
    account_id: int | None = None,
    limit: int | None = None,
) -> AsyncIterator[dict[str, Any]]:
    """Commands and what became of them, newest first; ``gated``: as the customer may see them."""
    statement = LIST.format(table="display.commands" if gated else ALL_COMMANDS)
    values = {"device": unique_id, "account": account_id, "limit": limit}
    async with connection.cursor(row_factory=dict_row) as cursor:
        async for row in cursor.stream(statement, values):
            yield row


async def protocol_of(connection: AsyncConnection[Any], device_id: int) -> str | None:
    """The protocol of the tracker's latest report with a place; None where there is none."""
    found = await connection.execute(
        "SELECT p.protocol FROM core.device_state s JOIN core.positions p ON p.device_id = s.device_id"
        " AND p.fixed_at = s.latest_fixed_at AND p.digest = s.latest_digest WHERE s.device_id = %s",
        [device_id],
    )
    row = await found.fetchone()
    return row[0] if row else None
