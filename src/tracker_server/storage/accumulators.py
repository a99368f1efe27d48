"""What a vehicle had driven and run before its tracker counted, as people set it: the difference to the engine's totals."""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection

SET: LiteralString = """
UPDATE core.devices d
SET odometer_offset_mm = coalesce(%(odometer_mm)s::bigint - s.odometer_mm, d.odometer_offset_mm),
    engine_offset_us = coalesce(%(engine_us)s::bigint - s.engine_us, d.engine_offset_us)
FROM core.device_state s WHERE d.id = %(device)s AND s.device_id = d.id AND d.removed_at IS NULL
"""


async def set_accumulators(
    connection: AsyncConnection[Any], device_id: int, *, odometer_m: float | None, engine_ms: float | None
) -> None:
    """From now on these are a tracker's totals; None leaves one as it is."""
    values = {
        "device": device_id,
        "odometer_mm": None if odometer_m is None else round(odometer_m * 1000),
        "engine_us": None if engine_ms is None else round(engine_ms * 1000),
    }
    await connection.execute(SET, values)
