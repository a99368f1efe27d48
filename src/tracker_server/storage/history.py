"""Reading history: the customer's view through the gate, the operator's straight from the base table."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any, LiteralString

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

FETCH_ROWS = 2_000  # about 1 MB on its way at once

COLUMNS = (
    "id", "device_id", "unique_id", "fixed_at", "received_at", "stored_at", "latitude", "longitude",
    "altitude_m", "speed_mps", "course_deg", "accuracy_m", "valid", "protocol", "attributes",
)  # fmt: skip
OPERATOR_COLUMNS = (*COLUMNS, "digest", "network")

PERIOD: LiteralString = """
  AND (%(since)s::timestamptz IS NULL OR fixed_at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR fixed_at < %(until)s)
ORDER BY fixed_at, id
"""
DISPLAYED: LiteralString = f"""
SELECT {", ".join(COLUMNS)} FROM display.positions WHERE device_id = %(device)s {PERIOD}
"""  # noqa: S608
ALL: LiteralString = f"""
SELECT {", ".join(OPERATOR_COLUMNS)}
FROM (
    SELECT p.*, d.unique_id FROM core.positions p JOIN core.devices d ON d.id = p.device_id
    WHERE p.device_id = ANY(%(devices)s)
) p WHERE true {PERIOD}
"""  # noqa: S608


def displayed_positions(
    connection: AsyncConnection[Any], device_id: int, since: datetime | None, until: datetime | None
) -> AsyncGenerator[dict[str, Any]]:
    """One tracker's fixes with since ≤ fixed_at < until as its customer may see them, by time, as
    ``COLUMNS``. The connection is ``Role.DISPLAY``'s: what is hidden is not there to be read.
    """
    return _stream(connection, DISPLAYED, {"device": device_id, "since": since, "until": until})


def all_positions(
    connection: AsyncConnection[Any],
    device_ids: Sequence[int],
    since: datetime | None,
    until: datetime | None,
) -> AsyncGenerator[dict[str, Any]]:
    """All fixes of these rows of ``core.devices``, by time, as ``OPERATOR_COLUMNS``, whoever may see them."""
    return _stream(connection, ALL, {"devices": list(device_ids), "since": since, "until": until})


async def _stream(
    connection: AsyncConnection[Any], statement: LiteralString, parameters: dict[str, Any]
) -> AsyncGenerator[dict[str, Any]]:
    """Rows by a cursor of the database's, so that a long history costs neither side its length in memory."""
    set_json_loads(msgspec.json.decode, connection)
    async with connection.transaction(), connection.cursor("history", row_factory=dict_row) as cursor:
        cursor.itersize = FETCH_ROWS
        await cursor.execute(statement, parameters)
        async for row in cursor:
            yield row
