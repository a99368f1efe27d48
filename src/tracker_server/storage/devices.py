"""Trackers' rows: added, moved, removed, held. What one sent stays with the row that it was sent under."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg.rows import dict_row

from tracker_server.gate import Block, BlockReason, Hidden, decide

# Fixes from before ``owned_since`` belong to somebody else. Taken over from another account: all before
# now. Added again by the account that had it last: nobody was in between, so what bounded it then bounds
# it now, and what the tracker kept or the quarantine holds meanwhile is its owner's.
ADD = """
INSERT INTO core.devices (unique_id, account_id, name, priority, test, owned_since, created_at)
SELECT n.unique_id, n.account_id, n.name, n.priority, n.test,
       CASE WHEN f.account_id = n.account_id THEN f.owned_since WHEN f.account_id IS NOT NULL THEN now() END,
       coalesce(%s::timestamptz, now())
FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::integer[], %s::boolean[])
     AS n (unique_id, account_id, name, priority, test)
LEFT JOIN LATERAL (
    SELECT account_id, owned_since FROM core.devices
    WHERE unique_id = n.unique_id AND removed_at IS NOT NULL ORDER BY removed_at DESC, id DESC LIMIT 1
) f ON true
ON CONFLICT (unique_id) WHERE removed_at IS NULL DO NOTHING
RETURNING unique_id, id
"""
SELECT = """
SELECT d.id, d.unique_id, d.name, a.name AS account, d.priority, d.test, d.created_at, d.owned_since, d.removed_at,
       s.contact_at, s.latest_fixed_at, b.blocks, a.currency, m.state, m.reason, m.due_minor, m.waiting, g.purge_at,
       (SELECT sum(u.due_minor)::bigint FROM core.unpaid u
        WHERE u.device_id = d.id AND (SELECT reveal FROM core.gate) = 'back_pay') AS back_pay_minor, now() AS now
FROM core.devices d
JOIN core.accounts a ON a.id = d.account_id
JOIN core.device_state s ON s.device_id = d.id
LEFT JOIN core.management m ON m.device_id = d.id
LEFT JOIN core.purges g ON g.device_id = d.id AND m.state = 'blocked'
LEFT JOIN LATERAL (
    SELECT array_agg(ROW(reason, since, until, note) ORDER BY since, reason) AS blocks
    FROM core.blocks WHERE device_id = d.id
) b ON true
"""
BY_NAME = f"{SELECT} WHERE d.unique_id = %s ORDER BY d.id"
ALL = f"""{SELECT}
WHERE (%(account)s::text IS NULL OR a.name = %(account)s) AND (%(removed)s OR d.removed_at IS NULL)
ORDER BY d.unique_id, d.id
"""
HOLD = """
WITH before AS (SELECT note FROM core.blocks WHERE device_id = %(id)s AND reason = %(reason)s)
INSERT INTO core.blocks AS b (device_id, reason, since, note) VALUES (%(id)s, %(reason)s, now(), %(note)s)
ON CONFLICT (device_id, reason) DO UPDATE SET
    note = excluded.note, until = NULL,
    since = CASE WHEN b.since <= now() AND (b.until IS NULL OR now() < b.until) THEN b.since ELSE excluded.since END
RETURNING since, since < now(), (SELECT note FROM before)
"""


TEST_INDEX = "devices_test"


class DeviceExistsError(Exception):
    """A tracker of that identifier is connected already."""


class TestDeviceExistsError(Exception):
    """The account has a test tracker already (R85)."""

    __test__ = False  # no test of pytest's


class NewDevice(Struct, frozen=True):
    """A tracker to be added."""

    unique_id: str
    account_id: int
    name: str
    priority: int = 1
    test: bool = False


class DeviceRow(Struct, frozen=True):
    """A tracker in one account's hands, and what hid it at ``read_at``.

    ``state``, ``reason``: of its management row; None where it was removed. ``due_minor``: what would show it again, in
    minor units of ``currency``; ``waiting``: fixes received since it was hidden; ``purge_at``: from when on
    what it recorded under the block is deleted; ``back_pay_minor``: what shows its unpaid time; None where that does not apply.
    """

    id: int
    unique_id: str
    name: str
    account: str
    priority: int
    test: bool
    created_at: datetime
    owned_since: datetime | None
    removed_at: datetime | None
    contact_at: datetime | None
    latest_fixed_at: datetime | None
    blocks: tuple[Block, ...]
    currency: str
    state: str | None
    reason: str | None
    due_minor: int | None
    waiting: int | None
    purge_at: datetime | None
    back_pay_minor: int | None
    read_at: datetime

    @property
    def hidden(self) -> Hidden | None:
        """What hides it from its customer; None: nothing."""
        match decide(self.blocks, self.read_at):
            case Hidden() as hidden:
                return hidden
            case _:
                return None


class Held(Struct, frozen=True):
    """The operator's hold as it is now. ``former_note``: what it said before, where it was there already."""

    since: datetime
    former_note: str | None


# rows are read in binary format: the text form of a record does not tell the types of its fields


def _device(row: dict[str, Any]) -> DeviceRow:
    blocks = tuple(Block(*block) for block in row.pop("blocks") or ())
    read_at = row.pop("now")
    return DeviceRow(**row, blocks=blocks, read_at=read_at)


async def devices(
    connection: AsyncConnection[Any], *, account: str | None = None, removed: bool = False
) -> AsyncIterator[DeviceRow]:
    """All trackers, or an account's; with the removed ones where asked."""
    async with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        async for row in cursor.stream(ALL, {"account": account, "removed": removed}):
            yield _device(row)


async def rows_of(connection: AsyncConnection[Any], unique_id: str) -> list[DeviceRow]:
    """Every row of that identifier, oldest first; only the last one can be connected."""
    async with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        await cursor.execute(BY_NAME, [unique_id])
        return [_device(row) for row in await cursor.fetchall()]


async def add_devices(
    connection: AsyncConnection[Any], new: Sequence[NewDevice], *, created_at: datetime | None = None
) -> dict[str, int]:
    """Add them all; answers the ids by identifier. An identifier that is connected already is left out. ``created_at``:
    when billing connected them, where it did so before; else now.

    Raises TestDeviceExistsError, and adds none, where an account would have two test trackers.
    """
    with _one_test_tracker():
        async with connection.transaction():
            added = await connection.execute(
                ADD,
                [
                    created_at,
                    [one.unique_id for one in new],
                    [one.account_id for one in new],
                    [one.name for one in new],
                    [one.priority for one in new],
                    [one.test for one in new],
                ],
            )
            return dict(await added.fetchall())


@contextmanager
def _one_test_tracker() -> Generator[None]:
    """The database holds it by an index, whoever adds at the same time."""
    try:
        yield
    except UniqueViolation as error:
        if error.diag.constraint_name != TEST_INDEX:
            raise
        raise TestDeviceExistsError from error


async def add_device(connection: AsyncConnection[Any], new: NewDevice) -> int:
    """Add one; answers its id. Raises DeviceExistsError, TestDeviceExistsError."""
    added = await add_devices(connection, [new])
    if new.unique_id not in added:
        raise DeviceExistsError(new.unique_id)
    return added[new.unique_id]


async def connected(connection: AsyncConnection[Any], unique_ids: Sequence[str]) -> dict[str, str]:
    """Which of these identifiers are connected, and the account of each."""
    rows = await connection.execute(
        "SELECT d.unique_id, a.name FROM core.devices d JOIN core.accounts a ON a.id = d.account_id"
        " WHERE d.removed_at IS NULL AND d.unique_id = ANY(%s)",
        [list(unique_ids)],
    )
    return dict(await rows.fetchall())


async def accounts_with_test(connection: AsyncConnection[Any]) -> set[str]:
    """The names of the accounts that have a test tracker."""
    rows = await connection.execute(
        "SELECT a.name FROM core.devices d JOIN core.accounts a ON a.id = d.account_id WHERE d.test AND d.removed_at IS NULL"
    )
    return {name for (name,) in await rows.fetchall()}


async def remove_device(connection: AsyncConnection[Any], device_id: int) -> datetime | None:
    """It is nobody's tracker from now on; None where it was removed meanwhile."""
    removed = await connection.execute(
        "UPDATE core.devices SET removed_at = now() WHERE id = %s AND removed_at IS NULL RETURNING removed_at",
        [device_id],
    )
    row = await removed.fetchone()
    return row[0] if row else None


async def move_device(connection: AsyncConnection[Any], device_id: int, account_id: int) -> int | None:
    """Put it into another account's hands: the former row ends and a new one begins at the same instant.

    A hold of the operator's goes with it: a move shows nobody anything. Other blocks are the former
    account's business. Answers the new row's id; None where it was removed meanwhile. Raises TestDeviceExistsError.
    """
    with _one_test_tracker():
        return await _move(connection, device_id, account_id)


async def _move(connection: AsyncConnection[Any], device_id: int, account_id: int) -> int | None:
    async with connection.transaction():
        moved = await connection.execute(
            "UPDATE core.devices SET removed_at = now() WHERE id = %s AND removed_at IS NULL"
            " RETURNING unique_id, name, priority, test",
            [device_id],
        )
        row = await moved.fetchone()
        if row is None:
            return None
        added = await connection.execute(
            "INSERT INTO core.devices (unique_id, account_id, name, priority, test, owned_since)"
            " VALUES (%s, %s, %s, %s, %s, now()) RETURNING id",
            [row[0], account_id, *row[1:]],
        )
        new = await added.fetchone()
        assert new is not None
        await connection.execute(
            "INSERT INTO core.blocks (device_id, reason, since, until, note)"
            " SELECT %s, reason, since, until, note FROM core.blocks WHERE device_id = %s AND reason = %s",
            [new[0], device_id, BlockReason.HOLD],
        )
        return new[0]


async def hold_device(connection: AsyncConnection[Any], device_id: int, note: str) -> Held:
    """Hide it, from now or from when it was held first, until ``release_device``."""
    parameters = {"id": device_id, "reason": BlockReason.HOLD, "note": note}
    row = await (await connection.execute(HOLD, parameters)).fetchone()
    assert row is not None
    since, before, former_note = row
    return Held(since, former_note if before else None)


async def release_device(connection: AsyncConnection[Any], device_id: int) -> Block | None:
    """Lift the operator's hold; answers it, None where there was none."""
    lifted = await connection.execute(
        "DELETE FROM core.blocks WHERE device_id = %s AND reason = %s RETURNING reason, since, until, note",
        [device_id, BlockReason.HOLD],
    )
    row = await lifted.fetchone()
    return Block(*row) if row else None
