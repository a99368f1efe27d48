"""The small map in an alert's mail: where it was and how it came there. Drawn here; nothing is asked of anybody."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import structlog

from tracker_server.alerts.letters import EventNotice, Letter
from tracker_server.pipeline.batch import StoreAwayError
from tracker_server.pipeline.dispatcher import Outgoing
from tracker_server.pipeline.ways import Ways

log = structlog.get_logger(__name__)

MINUTE_S: Final = 60.0
WAIT_S_MAX: Final = 30.0  # of a mail for its picture; without it, it goes with words alone


class Pictures:
    """``of`` answers in time or not at all: a mail is never lost for its picture."""

    def __init__(self, ways: Ways, per_minute_max: int) -> None:
        self._ways = ways
        self._per_minute_max = per_minute_max
        self._drawn: deque[float] = deque()
        self._drawing = asyncio.Lock()  # one at a time: each costs a third of a second of one core

    async def of(self, message: Outgoing, letter: Letter, title: str) -> bytes | None:
        """A PNG, where the message's rule wants one and there is a place to be seen."""
        if not isinstance(letter, EventNotice) or not letter.picture or message.hidden:
            return None
        place, device_id = letter.place, letter.device_id
        if place is None or device_id is None or not self._may():
            return None
        try:
            async with asyncio.timeout(WAIT_S_MAX), self._drawing:
                way = await self._ways.way(device_id, letter.fence_id, letter.occurred_at)
                if not way.fixes:
                    return None
                from tracker_server.papers.track_plot import sketch

                at = (place.latitude, place.longitude)
                return await asyncio.to_thread(sketch, title, way.fixes, way.fences, at)
        except (TimeoutError, StoreAwayError) as error:
            log.warning("a mail goes without its picture", message=message.id, error=str(error) or "too late")
        except Exception:
            log.exception("a picture cannot be drawn", message=message.id)
        return None

    def _may(self) -> bool:
        """Whether another is allowed in this minute."""
        now = asyncio.get_running_loop().time()
        while self._drawn and now - self._drawn[0] >= MINUTE_S:
            self._drawn.popleft()
        if len(self._drawn) >= self._per_minute_max:
            return False
        self._drawn.append(now)
        return True
