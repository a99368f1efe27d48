"""The rows of blocked time that nobody paid for, as the views leave it out (D5): they follow from the engine's facts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from tracker_server.billing.facts import AnyFact, LeftUnpaid, Revealed
from tracker_server.billing.reveal import gap_shares
from tracker_server.billing.state import State
from tracker_server.storage.billing_blocks import TrackerId

REMOVE = "DELETE FROM core.unpaid WHERE device_id = ANY(%s)"
ADD = """
INSERT INTO core.unpaid (device_id, hidden_from, hidden_until, due_minor)
SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::bigint[])
"""
PRESENT = "SELECT device_id, hidden_from, hidden_until FROM core.unpaid WHERE device_id = ANY(%s)"


async def sync_unpaid(
    connection: AsyncConnection[Any],
    accounts: Sequence[tuple[State, Sequence[TrackerId], Sequence[AnyFact]]],
) -> None:
    """Bring the rows to the states whose facts touched them. Part of the facts' transaction."""
    touched: list[int] = []
    rows: list[tuple[int, datetime, datetime, int]] = []
    for state, trackers, facts in accounts:
        names = {fact.device for fact in facts if isinstance(fact, LeftUnpaid | Revealed)}
        for tracker in trackers:
            device = state.devices.get(tracker.unique_id)
            if tracker.unique_id not in names or device is None:
                continue
            touched.append(tracker.row)
            rows += [
                (tracker.row, gap.start, gap.end, sum(gap_shares(state, device, gap).values()))
                for gap in device.gaps
            ]
    if touched:
        await connection.execute(REMOVE, [touched])
    if rows:
        await connection.execute(ADD, [list(column) for column in zip(*rows, strict=True)])


async def unpaid_differences(
    connection: AsyncConnection[Any], name: str, state: State, trackers: Sequence[TrackerId]
) -> list[str]:
    """Where the rows are not those that follow from the state."""
    found = await connection.execute(PRESENT, [[tracker.row for tracker in trackers]])
    present = set(await found.fetchall())
    names = {tracker.row: tracker.unique_id for tracker in trackers}
    wanted = {
        (tracker.row, gap.start, gap.end)
        for tracker in trackers
        for gap in state.devices[tracker.unique_id].gaps
    }
    return [
        f"account {name!r}: tracker {names[row]!r} has unpaid time from {start.isoformat()} to {end.isoformat()} "
        f"{'in its rows only' if (row, start, end) in present else 'that its rows do not have'}"
        for row, start, end in sorted(present ^ wanted)
    ]
