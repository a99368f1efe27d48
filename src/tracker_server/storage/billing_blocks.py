"""Which blocks follow from an account's state, and bringing the rows to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.billing.dates import ONE_DAY
from tracker_server.billing.state import Device, State
from tracker_server.billing.states import BLOCKED, FACES, Standing, standing, test_last_day
from tracker_server.billing.tariffs import Mode
from tracker_server.gate import BlockReason

OURS = (BlockReason.BILLING, BlockReason.SUSPENSION, BlockReason.TEST_EXPIRED)

PRESENT = """
SELECT device_id, reason, since, note FROM core.blocks WHERE device_id = ANY(%s) AND reason = ANY(%s)
"""
SET = """
INSERT INTO core.blocks (device_id, reason, since, note)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::text[])
ON CONFLICT (device_id, reason) DO UPDATE SET since = excluded.since, until = NULL, note = excluded.note
"""
LIFT = """
DELETE FROM core.blocks b USING unnest(%s::bigint[], %s::text[]) AS l (device_id, reason)
WHERE b.device_id = l.device_id AND b.reason = l.reason
"""


class TrackerId(Struct, frozen=True):
    """A tracker's row and the name under which billing knows it."""

    row: int
    unique_id: str


def block_of(state: State, device: Device) -> tuple[BlockReason, datetime, str] | None:
    """The block that hides a tracker for billing's sake, or will: one that begins by time alone is set ahead, so
    that it begins even while no clock runs.
    """
    now = state.settled_to
    found = standing(state, device, now)
    note = FACES[found].reason or ""
    match found:
        case Standing.SUSPENDED:
            assert device.suspension is not None
            return BlockReason.SUSPENSION, device.suspension.since, note
        case Standing.TEST_EXPIRED:
            return BlockReason.TEST_EXPIRED, device.blocked_since or now, note
        case Standing.TEST:
            last = test_last_day(state, device)
            expired = FACES[Standing.TEST_EXPIRED].reason or ""
            return (
                None if last is None else (BlockReason.TEST_EXPIRED, state.start_of(last + ONE_DAY), expired)
            )
        case Standing.IN_TERM if state.tariff.mode is Mode.TERM:
            assert device.term is not None
            return BlockReason.BILLING, state.start_of(device.term.end), FACES[Standing.OVERDUE].reason or ""
        case _ if found in BLOCKED:
            return BlockReason.BILLING, device.blocked_since or now, note
        case _:
            return None


async def sync_blocks(connection: AsyncConnection[Any], state: State, trackers: Sequence[TrackerId]) -> None:
    """Set what is missing, lift what is over; other reasons are not ours to touch."""
    rows = await connection.execute(PRESENT, [[tracker.row for tracker in trackers], list(OURS)])
    present = {(row, reason): (since, note) for row, reason, since, note in await rows.fetchall()}
    wanted: dict[tuple[int, str], tuple[datetime, str]] = {}
    for tracker in trackers:
        device = state.devices.get(tracker.unique_id)
        block = block_of(state, device) if device is not None else None
        if block is not None:
            reason, since, note = block
            wanted[tracker.row, reason] = (since, note)
    new = {key: value for key, value in wanted.items() if present.get(key) != value}
    if new:
        await connection.execute(
            SET,
            [
                [row for row, _ in new],
                [reason for _, reason in new],
                [since for since, _ in new.values()],
                [note for _, note in new.values()],
            ],
        )
    over = [key for key in present if key not in wanted]
    if over:
        await connection.execute(LIFT, [[row for row, _ in over], [reason for _, reason in over]])
