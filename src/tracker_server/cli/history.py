"""What the commands share that show a tracker's history: why its customer does not see all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracker_server.cli.common import refused, say
from tracker_server.cli.output import counted
from tracker_server.exports.cells import iso

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from tracker_server.storage.devices import DeviceRow


async def refuse_unknown(connection: AsyncConnection[Any], unique_id: str) -> None:
    """There is no such tracker: say so, and what of it waits in quarantine."""
    from tracker_server.storage.quarantine_rows import count_frames

    frames = await count_frames(connection, unique_id)
    hint = (
        f"{counted(frames, 'frame')} of it in quarantine: `tracker-server device add {unique_id}` adds it"
        if frames
        else "`tracker-server device list` tells them all"
    )
    refused(f"UNIQUE_ID: there is no tracker {unique_id!r}; {hint}")


async def tell_state(
    connection: AsyncConnection[Any], unique_id: str, devices: list[DeviceRow], *, hides_all: bool
) -> None:
    """Why a customer sees nothing, or nothing newer: unknown and removed trackers are a refusal, a blocked one is told of."""
    if not devices:
        await refuse_unknown(connection, unique_id)
    device = devices[-1]
    if device.removed_at is not None:
        refused(
            f"UNIQUE_ID: tracker {unique_id!r} was removed at {iso(device.removed_at)}; "
            "--as operator shows what it sent"
        )
    if device.hidden:
        for block in device.hidden.blocks:
            note = f" ({block.note})" if block.note else ""
            sees = "nothing" if hides_all or block.reason == "hold" else "only what was received before"
            say(
                f"tracker-server: tracker {unique_id!r} is blocked: {block.reason}{note} since {iso(block.since)}; "
                f"its customer sees {sees}. What it sends is stored all the same"
            )
