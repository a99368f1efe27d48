"""Which blocks follow from an account's state, and bringing the rows to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.billing.agenda import next_due
from tracker_server.billing.dates import ONE_DAY
from tracker_server.billing.reasons import Reason
from tracker_server.billing.state import Device, State
from tracker_server.billing.states import BLOCKED, FACES, Standing, due_minor, standing, test_last_day
from tracker_server.billing.tariffs import Mode
from tracker_server.gate import BlockReason

OURS = (BlockReason.BILLING, BlockReason.SUSPENSION, BlockReason.TEST_EXPIRED)

PRESENT = """
SELECT device_id, reason, since, note, due_minor FROM core.blocks WHERE device_id = ANY(%s) AND reason = ANY(%s)
"""
SET = """
INSERT INTO core.blocks (device_id, reason, since, note, due_minor)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::text[], %s::bigint[])
ON CONFLICT (device_id, reason) DO UPDATE
SET since = excluded.since, until = NULL, note = excluded.note, due_minor = excluded.due_minor
"""
LIFT = """
DELETE FROM core.blocks b USING unnest(%s::bigint[], %s::text[]) AS l (device_id, reason)
WHERE b.device_id = l.device_id AND b.reason = l.reason
"""


GATE = """
INSERT INTO core.gate (hide_history, reveal) VALUES (%s, %s)
ON CONFLICT (one) DO UPDATE SET hide_history = excluded.hide_history, reveal = excluded.reveal
WHERE (gate.hide_history, gate.reveal) IS DISTINCT FROM (excluded.hide_history, excluded.reveal)
"""


async def set_gate(connection: AsyncConnection[Any], *, hide_history: bool, reveal: str) -> None:
    """How far back a block of money's hides, and what of it is shown later, for every reader from now on. The connection
    is the owner's.
    """
    await connection.execute(GATE, [hide_history, reveal])


class TrackerId(Struct, frozen=True):
    """A tracker's row and the name under which billing knows it."""

    row: int
    unique_id: str


class Wanted(Struct, frozen=True):
    """A block's row as it should be. ``due_minor``: what lifts it; None: money does not."""

    since: datetime
    note: str
    due_minor: int | None = None


def block_of(state: State, device: Device) -> tuple[BlockReason, Wanted] | None:
    """The block that hides a tracker for billing's sake, or will: one that begins by time alone is set ahead, so
    that it begins even while no clock runs.
    """
    now = state.settled_to
    found = standing(state, device, now)
    note = FACES[found].reason or ""
    match found:
        case Standing.SUSPENDED:
            assert device.suspension is not None
            return BlockReason.SUSPENSION, Wanted(device.suspension.since, note)
        case Standing.TEST_EXPIRED:
            return BlockReason.TEST_EXPIRED, Wanted(device.blocked_since or now, note)
        case Standing.TEST:
            last = test_last_day(state, device)
            expired = FACES[Standing.TEST_EXPIRED].reason or ""
            return (
                None
                if last is None
                else (BlockReason.TEST_EXPIRED, Wanted(state.start_of(last + ONE_DAY), expired))
            )
        case Standing.IN_TERM if state.tariff.mode is Mode.TERM:
            assert device.term is not None
            end = state.start_of(device.term.end)
            overdue = FACES[Standing.OVERDUE].reason or ""
            return BlockReason.BILLING, Wanted(end, overdue, due_minor(state, device, end))
        case _ if found in BLOCKED:
            return BlockReason.BILLING, Wanted(
                device.blocked_since or now, note, due_minor(state, device, now)
            )
        case _:
            return None


def next_look(state: State) -> datetime | None:
    """When the account is to be settled next: as something falls due, and at midnight where a tracker is blocked for
    money, for what lifts that is another amount on another date.
    """
    due = next_due(state)
    now = state.settled_to
    if all(due_minor(state, device, now) == 0 for device in state.devices.values()):
        return due
    midnight = state.start_of(state.date_at(now) + ONE_DAY)
    return midnight if due is None else min(due, midnight)


def wanted_blocks(
    state: State, trackers: Sequence[TrackerId], present: Mapping[tuple[int, str], Wanted]
) -> dict[tuple[int, str], Wanted]:
    """The rows that follow from the state. A tracker that billing does not take in (a second test tracker, a contract
    that has ended) is nobody's to show for nothing: it is hidden from when that was seen first.
    """
    outside = Reason.TEST_DEVICE_EXISTS if state.withdrawn_at is None else Reason.CONTRACT_ENDED
    wanted: dict[tuple[int, str], Wanted] = {}
    for tracker in trackers:
        device = state.devices.get(tracker.unique_id)
        if device is not None:
            block = block_of(state, device)
            if block is not None:
                reason, row = block
                wanted[tracker.row, reason] = row
            continue
        key = (tracker.row, BlockReason.BILLING.value)
        before = present.get(key)
        kept = before is not None and before.note == outside
        wanted[key] = before if before is not None and kept else Wanted(state.settled_to, outside.value)
    return wanted


async def present_blocks(
    connection: AsyncConnection[Any], trackers: Sequence[TrackerId]
) -> dict[tuple[int, str], Wanted]:
    """The rows that there are, of the reasons that are ours."""
    rows = await connection.execute(PRESENT, [[tracker.row for tracker in trackers], list(OURS)])
    return {(row, reason): Wanted(*rest) for row, reason, *rest in await rows.fetchall()}


async def sync_blocks(
    connection: AsyncConnection[Any], accounts: Sequence[tuple[State, Sequence[TrackerId]]]
) -> None:
    """Set what is missing, lift what is over; other reasons are not ours to touch."""
    present = await present_blocks(connection, [tracker for _, trackers in accounts for tracker in trackers])
    wanted: dict[tuple[int, str], Wanted] = {}
    for state, trackers in accounts:
        wanted |= wanted_blocks(state, trackers, present)
    new = {key: value for key, value in wanted.items() if present.get(key) != value}
    if new:
        await connection.execute(
            SET,
            [
                [row for row, _ in new],
                [reason for _, reason in new],
                [one.since for one in new.values()],
                [one.note for one in new.values()],
                [one.due_minor for one in new.values()],
            ],
        )
    over = [key for key in present if key not in wanted]
    if over:
        await connection.execute(LIFT, [[row for row, _ in over], [reason for _, reason in over]])
