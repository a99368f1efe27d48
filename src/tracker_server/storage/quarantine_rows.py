"""The frames that are kept: listed, read for replay, deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from tracker_server.pipeline.quarantine import KeptFrame

COLUMNS = (
    "id", "received_at", "unique_id", "protocol", "transport", "remote", "reason", "detail", "reports",
    "frame_bytes", "frame",
)  # fmt: skip
CHOSEN = """(%(device)s::text IS NULL OR unique_id = %(device)s)
    AND (%(reason)s::text IS NULL OR reason = %(reason)s)
    AND (%(protocol)s::text IS NULL OR protocol = %(protocol)s)
    AND (%(before)s::timestamptz IS NULL OR received_at < %(before)s)"""
LIST = f"""
SELECT id, received_at, unique_id, protocol, transport, remote, reason, detail, reports,
       length(frame) AS frame_bytes, encode(frame, 'hex') AS frame
FROM core.quarantine WHERE {CHOSEN} ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608
COUNT = f"SELECT count(*), max(id) FROM core.quarantine WHERE {CHOSEN}"  # noqa: S608
DROP = f"DELETE FROM core.quarantine WHERE {CHOSEN}"  # noqa: S608
PAGE = f"""
SELECT id, received_at, unique_id, protocol, transport, remote, reason, frame
FROM core.quarantine
WHERE {CHOSEN} AND (received_at, id) > (%(after)s, %(after_id)s) AND id <= %(id_max)s
ORDER BY received_at, id LIMIT %(rows)s
"""  # noqa: S608


class Choice(Struct, frozen=True):
    """Which frames are meant: those that fit all that is given."""

    device: str | None = None
    reason: str | None = None
    protocol: str | None = None
    before: datetime | None = None

    def parameters(self) -> dict[str, Any]:
        """As the statements take them."""
        return {
            "device": self.device,
            "reason": self.reason,
            "protocol": self.protocol,
            "before": self.before,
        }


class Kept(Struct, frozen=True):
    """How many frames there are, and the newest id among them."""

    frames: int
    id_max: int


async def count_frames(connection: AsyncConnection[Any], unique_id: str) -> int:
    """How many frames of that identifier are kept."""
    return (await kept(connection, Choice(unique_id))).frames


async def kept(connection: AsyncConnection[Any], choice: Choice) -> Kept:
    """How many of these frames are kept."""
    row = await (await connection.execute(COUNT, choice.parameters())).fetchone()
    assert row is not None
    return Kept(row[0], row[1] or 0)


async def frames(
    connection: AsyncConnection[Any], choice: Choice, limit: int | None = None
) -> AsyncIterator[dict[str, Any]]:
    """These frames as ``COLUMNS``, what was kept last first; ``frame`` in hexadecimal."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        async for row in cursor.stream(LIST, {**choice.parameters(), "limit": limit}):
            yield row


async def page(
    connection: AsyncConnection[Any], choice: Choice, after: KeptFrame | None, *, id_max: int, rows: int
) -> list[KeptFrame]:
    """The next of these frames behind ``after``, in the order of their receipt; none newer than ``id_max``."""
    async with connection.cursor(row_factory=class_row(KeptFrame)) as cursor:
        await cursor.execute(
            PAGE,
            {
                **choice.parameters(),
                "after": after.received_at if after else "-infinity",
                "after_id": after.id if after else 0,
                "id_max": id_max,
                "rows": rows,
            },
        )
        return await cursor.fetchall()


async def delete_frames(connection: AsyncConnection[Any], ids: Sequence[int]) -> None:
    """Keep these no longer."""
    await connection.execute("DELETE FROM core.quarantine WHERE id = ANY(%s)", [list(ids)])


async def drop_frames(connection: AsyncConnection[Any], choice: Choice) -> int:
    """Keep none of these any longer; answers how many there were."""
    return (await connection.execute(DROP, choice.parameters())).rowcount
