"""The outbox's rows: written in the transaction of their cause, delivered in order, listed, tried again, dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal, assert_never

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from tracker_server.pipeline.batch import StoreAwayError
from tracker_server.pipeline.dispatcher import (
    Backlog,
    Delivered,
    Ended,
    Failed,
    Fate,
    Held,
    Outgoing,
    Postponed,
    Withheld,
)
from tracker_server.storage.database import AWAY, Database, Role

NOTIFIED = "tracker_outbox"
TURN = 7_201_450_085  # the lock of the one process that delivers
TURN_S = 2.0  # how soon another process takes over
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
# In the order of their lanes. Where an earlier message of a lane is due later than this one, for it has failed before,
# `behind` says when: this one waits until then.
DUE = f"""
SELECT o.id, o.key, o.channel, o.recipient, o.account_id, o.payload, o.created_at, o.due_at, o.attempts, o.device_id,
       o.event_id IS NOT NULL AS alert, o.body,
       CASE WHEN o.channel = 'webhook' THEN (SELECT webhook_secret FROM core.accounts a WHERE a.id = o.account_id) END AS secret,
       o.event_id IS NOT NULL AND (EXISTS (SELECT FROM core.hidden h WHERE h.device_id = o.device_id OR h.device_id = ANY(o.other_ids))
           OR NOT EXISTS (SELECT FROM core.devices d WHERE d.id = o.device_id AND d.removed_at IS NULL)) AS hidden,
       (SELECT max(e.next_at) FROM core.outbox e
        WHERE e.account_id = o.account_id AND coalesce(e.device_id, 0) = coalesce(o.device_id, 0)
          AND e.channel = o.channel AND e.recipient = o.recipient AND e.id < o.id AND e.id <> ALL(%(claimed)s)
          AND e.delivered_at IS NULL AND e.failed_at IS NULL AND e.withheld_at IS NULL
          AND e.next_at > o.next_at AND e.due_at <= %(now)s) AS behind
FROM core.outbox o
WHERE {WAITS} AND channel = %(channel)s AND next_at <= %(now)s AND id <> ALL(%(claimed)s)
ORDER BY next_at, id LIMIT %(at_most)s
"""  # noqa: S608  (our own words)
WRITE = """
UPDATE core.outbox o
SET attempts = attempts + f.tried, next_at = coalesce(f.next_at, o.next_at), delivered_at = f.delivered_at,
    failed_at = f.failed_at, withheld_at = f.withheld_at, withheld = f.withheld,
    error = CASE WHEN f.tried = 0 AND f.withheld IS NULL THEN o.error ELSE f.error END,
    receipts = CASE WHEN f.receipts <> '' THEN string_to_array(f.receipts, ' ') ELSE o.receipts END
FROM unnest(%s::bigint[], %s::integer[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[],
            %s::text[], %s::text[], %s::text[])
    AS f (id, tried, next_at, delivered_at, failed_at, withheld_at, withheld, error, receipts)
WHERE o.id = f.id AND o.delivered_at IS NULL AND o.failed_at IS NULL AND o.withheld_at IS NULL
"""
NEXT = f"SELECT min(next_at) FROM core.outbox WHERE {WAITS} AND channel = %s AND id <> ALL(%s)"  # noqa: S608
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
        """One connection that listens and holds the turn, one that works."""
        try:
            async with (
                await self._database.connect(Role.CORE) as listening,
                await self._database.connect(Role.CORE) as working,
            ):
                await listening.execute(f"LISTEN {NOTIFIED}".encode())
                yield OutboxDesk(listening, working)
        except AWAY as error:
            raise StoreAwayError(str(error).strip()) from error


class OutboxDesk:
    """See ``Desk``."""

    def __init__(self, listening: AsyncConnection[Any], working: AsyncConnection[Any]) -> None:
        self._listening = listening
        self._working = working

    async def take_over(self) -> None:
        """Wait for the turn. It ends with this connection: where a process died, at once."""
        while True:
            row = await (await self._listening.execute("SELECT pg_try_advisory_lock(%s)", [TURN])).fetchone()
            if row and row[0]:
                return
            await asyncio.sleep(TURN_S)

    async def due(
        self, channel: str, now: datetime, claimed: Collection[int], at_most: int
    ) -> list[Outgoing]:
        """The next due messages of a channel, in their order."""
        values = {"now": now, "channel": channel, "claimed": list(claimed), "at_most": at_most}
        with _away():
            async with self._working.cursor(row_factory=class_row(Outgoing)) as cursor:
                await cursor.execute(DUE, values)
                return await cursor.fetchall()

    async def write(self, fates: Sequence[tuple[int, Fate]]) -> None:
        """All in one statement; what has ended meanwhile in another way stays as it is."""
        rows = [_row(message_id, fate) for message_id, fate in fates if not isinstance(fate, Ended)]
        if rows:
            with _away():
                await self._working.execute(WRITE, [list(column) for column in zip(*rows, strict=True)])

    async def next_at(self, channel: str, claimed: Collection[int]) -> datetime | None:
        """When the next message of a channel is due."""
        with _away():
            row = await (await self._working.execute(NEXT, [channel, list(claimed)])).fetchone()
        return row[0] if row else None

    async def wait(self, seconds: float) -> bool:
        """Until a message is written, or so many seconds."""
        with _away():
            async for _ in self._listening.notifies(timeout=seconds, stop_after=1):
                return True
        return False

    async def tidy(self, channels: Collection[str], now: datetime, age_max: timedelta) -> Backlog:
        """Give up what has waited too long for a channel that is not set up; answers what waits."""
        with _away():
            await self._working.execute(
                UNSERVED, {"now": now, "channels": list(channels), "before": now - age_max}
            )
            return await backlog_of(self._working, now)


async def backlog_of(connection: AsyncConnection[Any], now: datetime) -> Backlog:
    """What waits and what was given up."""
    row = await (await connection.execute(BACKLOG, {"now": now})).fetchone()
    assert row is not None
    return Backlog(*row)


@contextmanager
def _away() -> Generator[None]:
    """The database's absence in the dispatcher's words: of several tasks each says it by itself."""
    try:
        yield
    except AWAY as error:
        raise StoreAwayError(str(error).strip()) from error


def _row(message_id: int, fate: Fate) -> tuple[Any, ...]:
    """Id, tried, next_at, delivered_at, failed_at, withheld_at, withheld, error, receipts."""
    match fate:
        case Delivered(at=at, receipts=receipts):
            return message_id, 1, None, at, None, None, None, None, " ".join(receipts)
        case Postponed(next_at=next_at, error=error):
            return message_id, 1, next_at, None, None, None, None, error, ""
        case Held(next_at=next_at):
            return message_id, 0, next_at, None, None, None, None, None, ""
        case Failed(at=at, error=error):
            return message_id, 1, None, None, at, None, None, error, ""
        case Withheld(at=at, why=why, error=error):
            return message_id, 0, None, None, None, at, why, error, ""
        case Ended():
            raise AssertionError("its channel has written it")
        case _:
            assert_never(fate)


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
