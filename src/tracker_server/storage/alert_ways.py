"""The way before an alert, for its picture: read through the gate."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from tracker_server.pipeline.batch import StoreAwayError
from tracker_server.pipeline.ways import NamedShape, Way
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.fences import displayed_fence
from tracker_server.storage.history import displayed_positions

BEFORE: Final = timedelta(minutes=30)
FIXES_MAX: Final = 5_000  # half an hour at one a second is 1,800; the newest are drawn


class AlertWays:
    """See ``Ways``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def way(self, device_id: int, fence_id: int | None, until: datetime) -> Way:
        """The last half hour before a moment, and that moment's own fix."""
        try:
            async with await self._database.connect(Role.DISPLAY) as connection:
                after = until + timedelta(seconds=1)
                rows = displayed_positions(connection, device_id, until - BEFORE, after)
                fixes = [row async for row in rows if row["valid"]]
                fence = None if fence_id is None else await displayed_fence(connection, fence_id)
        except AWAY as error:
            raise StoreAwayError(str(error).strip()) from error
        return Way(fixes[-FIXES_MAX:], [NamedShape(fence.name, fence.shape)] if fence else [])
