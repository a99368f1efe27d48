"""Putting history into a database by the writer that the server uses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from tests.storage.rows import batch, known, position, store_of
from tracker_protocols.model import Fix
from tracker_server.pipeline.batch import PositionRow


def moments(begin: datetime, count: int, step: timedelta = timedelta(seconds=10)) -> list[datetime]:
    return [begin + n * step for n in range(count)]


def store(
    dsn: str, unique_id: str, fixed: Iterable[datetime], *, received_at: datetime | None = None
) -> list[PositionRow]:
    """A fix at each of these moments, received then, for the tracker as it is connected now."""
    tracker = known(dsn, unique_id)[-1]
    rows = [position(tracker, at, received_at=received_at or at, sat=9) for at in fixed]
    store_rows(dsn, rows)
    return rows


def store_fixes(dsn: str, unique_id: str, fixes: Iterable[Fix], **attributes: Any) -> None:
    """These very fixes."""
    tracker = known(dsn, unique_id)[-1]
    rows: list[PositionRow] = []
    for fix in fixes:
        row = position(tracker, fix.fixed_at, received_at=fix.fixed_at, **attributes)
        row.fix = fix
        rows.append(row)
    store_rows(dsn, rows)


def store_rows(dsn: str, rows: list[PositionRow]) -> None:
    async def main() -> None:
        async with store_of(dsn) as writer:
            await writer.commit(batch(*rows), "default")

    asyncio.run(main())
