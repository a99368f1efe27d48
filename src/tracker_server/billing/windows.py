"""The 31 days that a connection fee pays for (R9 to R12)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

WINDOW_DAYS: Final = 31
WINDOW: Final = timedelta(days=WINDOW_DAYS)


def window_end(paid_at: datetime, zone: str) -> datetime:
    """The instant W at which the window ends: the later of 31 x 24 hours on, and the same wall clock 31
    dates on, so that a change of clocks never shortens it (R12).

    A wall clock that the end of summer time shows twice is met the first time it comes.
    """
    local = paid_at.astimezone(ZoneInfo(zone))
    same_clock = (local.replace(tzinfo=None) + WINDOW).replace(tzinfo=ZoneInfo(zone))
    return max(paid_at + WINDOW, same_clock.astimezone(UTC))
