"""The outbox's rows: written in the transaction of their cause, taken one at a time, listed, tried again, dropped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Literal, assert_never

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from tracker_server.pipeline.batch import StoreAwayError
from tracker_server.pipeline.dispatcher import Backlog, Deliver, Delivered, Failed, Fate, Outgoing, Postponed
from tracker_server.storage.database import AWAY, Database, Role

NOTIFIED = "tracker_outbox"
STATES = ("waiting", "delivered", "failed", "withheld")
StateName = Literal["waiting", "delivered", "failed", "withheld"]
COLUMNS = (
    "id", "key", "channel", "recipient", "account", "unique_id", "state", "attempts", "error",
    "created_at", "due_at", "next_at", "delivered_at", "failed_at", "payload",
)  # fmt: skip

WAITS = "delivered_at IS NULL AND failed_at IS NULL AND withheld_at IS NULL"
ENQUEUE = """
INSERT INTO core.outbox (key, channel, recipient, account_id, device_id, payload, created_at, due_at, next_at)
VALUES (%(key)s, %(channel)s, %(recipient)s, %(account)s, %(device)s, %(payload)s, %(now)s, %(due)s, %(due)s)
ON CONFLICT (key) DO NOTHING
"""
# Whoever holds a row's lock delivers it; whoever dies lets go of it. Behind an earlier message that is due
# to the same recipient a later one waits, even while the earlier is just being delivered by another worker.
CLAIM = f"""
SELECT id, key, channel, recipient, account_id, payload, created_at, due_at, attempts
FROM core.outbox o
WHERE {WAITS} AND next_at <= %(now)s AND channel = ANY(%(channels)s) AND NOT EXISTS (
    SELECT FROM core.outbox e
    WHERE e.account_id = o.account_id AND e.channel = o.channel AND e.recipient = o.recipient AND e.id < o.id
      AND e.delivered_at IS NULL AND e.failed_at IS NULL AND e.withheld_at IS NULL AND e.due_at <= %(now)s)
ORDER BY next_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
"""  # noqa: S608  (our own words)
NEXT = f"SELECT min(next_at) FROM core.outbox WHERE {WAITS} AND channel = ANY(%s)"  # noqa: S608
UNSERVED = f"""
UPDATE core.outbox SET failed_at = %(now)s, error = 'the channel ' || channel || ' is not set up'
WHERE {WAITS} AND channel <> ALL(%(channels)s) AND due_at <= %(before)s
"""  # noqa: S608
BACKLOG = """
SELECT count(*) FILTER (WHERE failed_at IS NULL), count(*) FILTER (WHERE failed_at IS NOT NULL),
       coalesce(greatest(extract(epoch FROM %(now)s - min(due_at) FILTER (WHERE failed_at IS NULL)), 0), 0)::float8
FROM core.outbox WHERE delivered_at IS NULL AND withheld_at IS NULL
"""
LIST = """
SELECT o.id, o.key, o.channel, o.recipient, a.name AS account, d.unique_id, o.attempts, o.error, o.created_at,
       o.due_at, o.next_at, o.delivered_at, o.failed_at, o.payload,
       CASE WHEN o.delivered_at IS NOT NULL THEN 'delivered' WHEN o.failed_at IS NOT NULL THEN 'failed'
            WHEN o.withheld_at IS NOT NULL THEN 'withheld' ELSE 'waiting' END AS state
FROM core.outbox o LEFT JOIN core.accounts a ON a.id = o.account_id LEFT JOIN core.devices d ON d.id = o.device_id
WHERE (%(account)s::text IS NULL OR a.name = %(account)s) AND CASE %(state)s::text
    WHEN 'waiting' THEN o.delivered_at IS NULL AND o.failed_at IS NULL AND o.withheld_at IS NULL
    WHEN 'withheld' THEN o.withheld_at IS NOT NULL
    WHEN 'delivered' THEN o.delivered_at IS NOT NULL WHEN 'failed' THEN o.failed_at IS NOT NULL ELSE true END
ORDER BY o.id DESC LIMIT %(limit)s
"""
# A message that waits may be in somebody's hands: the lock is waited for, and what was delivered stays so.
RETRY = """
UPDATE core.outbox SET failed_at = NULL, attempts = 0, due_at = %(now)s, next_at = %(now)s
WHERE delivered_at IS NULL AND withheld_at IS NULL AND (id = ANY(%(ids)s) OR %(every)s AND failed_at IS NOT NULL) RETURNING id
"""
DROP = """
DELETE FROM core.outbox
WHERE delivered_at IS NULL AND withheld_at IS NULL AND (id = ANY(%(ids)s) OR %(every)s AND failed_at IS NOT NULL) RETURNING id
"""
PRUNE = "DELETE FROM core.outbox WHERE coalesce(delivered_at, failed_at, withheld_at) < %s"


class NewMessage(Struct, frozen=True):
    """A message to be written. ``due_at``: not to be sent before."""

    key: str
    channel: str
    recipient: str
    account_id: int | None
    payload: Any
    due_at: datetime
    device_id: int | None = None


async def enqueue(connection: AsyncConnection[Any], messages: Collection[NewMessage], now: datetime) -> None:
    """Write messages in the transaction that the caller has open; a key that is there already is left alone."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            ENQUEUE,
            [
                {
                    "key": message.key,
                    "channel": message.channel,
                    "recipient": message.recipient,
                    "account": message.account_id,
                    "device": message.device_id,
                    "payload": Jsonb(message.payload),
                    "now": now,
                    "due": message.due_at,
                }
                for message in messages
            ],
        )


class Outbox:
    """The dispatcher's port, over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def desk(self) -> AsyncGenerator[OutboxDesk]:
        """A connection of its own."""
        try:
            async with await self._database.connect(Role.CORE) as connection:
                await connection.execute(f"LISTEN {NOTIFIED}".encode())
                yield OutboxDesk(connection)
        except AWAY as error:
            raise StoreAwayError(str(error).strip()) from error


class OutboxDesk:
    """See ``Desk``."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection

    async def deliver_one(self, channels: Collection[str], now: datetime, deliver: Deliver) -> Fate | None:
        """One transaction: the row is ours from its claim until its fate is written."""
        async with self._connection.transaction():
            async with self._connection.cursor(row_factory=class_row(Outgoing)) as cursor:
                await cursor.execute(CLAIM, {"now": now, "channels": list(channels)})
                message = await cursor.fetchone()
            if message is None:
                return None
            fate = await deliver(message)
            await self._write(message.id, fate)
            return fate

    async def _write(self, message_id: int, fate: Fate) -> None:
        match fate:
            case Delivered(at=at):
                changed = "delivered_at = %(at)s, error = NULL"
                values: dict[str, Any] = {"at": at}
            case Postponed(next_at=next_at, error=error):
                changed, values = "next_at = %(at)s, error = %(error)s", {"at": next_at, "error": error}
            case Failed(at=at, error=error):
                changed, values = "failed_at = %(at)s, error = %(error)s", {"at": at, "error": error}
            case _:
                assert_never(fate)
        statement = f"UPDATE core.outbox SET attempts = attempts + 1, {changed} WHERE id = %(id)s"  # noqa: S608
        await self._connection.execute(statement.encode(), {**values, "id": message_id})

    async def next_at(self, channels: Collection[str]) -> datetime | None:
        """When the next message of these channels is due."""
        row = await (await self._connection.execute(NEXT, [list(channels)])).fetchone()
        return row[0] if row else None

    async def wait(self, seconds: float) -> bool:
        """Until a message is written, or so many seconds."""
        async for _ in self._connection.notifies(timeout=seconds, stop_after=1):
            return True
        return False

    async def tidy(self, channels: Collection[str], now: datetime, age_max: timedelta) -> Backlog:
        """Give up what has waited too long for a channel that is not set up; answers what waits."""
        await self._connection.execute(
            UNSERVED, {"now": now, "channels": list(channels), "before": now - age_max}
        )
        row = await (await self._connection.execute(BACKLOG, {"now": now})).fetchone()
        assert row is not None
        return Backlog(*row)


# ---------------------------------------------------------------------- people


async def messages(
    connection: AsyncConnection[Any], state: StateName | None, account: str | None, limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    """Messages as ``COLUMNS``, newest first."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        async for row in cursor.stream(LIST, {"state": state, "account": account, "limit": limit}):
            yield row


async def retry(
    connection: AsyncConnection[Any], ids: Collection[int], now: datetime, *, every: bool = False
) -> list[int]:
    """Try these undelivered messages, or every failed one, now and from the beginning; answers which."""
    async with connection.transaction():
        rows = await connection.execute(RETRY, {"ids": list(ids), "every": every, "now": now})
        found = sorted(message for (message,) in await rows.fetchall())
        await connection.execute(f"NOTIFY {NOTIFIED}".encode())
    return found


async def drop(connection: AsyncConnection[Any], ids: Collection[int], *, every: bool = False) -> list[int]:
    """Delete these undelivered messages, or every failed one, for good; answers which."""
    rows = await connection.execute(DROP, {"ids": list(ids), "every": every})
    return sorted(message for (message,) in await rows.fetchall())


async def prune(connection: AsyncConnection[Any], before: datetime) -> int:
    """Delete what was delivered or failed before a moment; answers how many."""
    return (await connection.execute(PRUNE, [before])).rowcount
