"""Dates in an account's own time zone, and the instants at which they begin.

All instants are aware datetimes in UTC; a zone is an IANA name. Clocks that are put back or forward,
midnights that do not exist and dates that a country skipped are settled here, once.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from tracker_server.model.money import InvalidValueError

ONE_DAY: Final = timedelta(days=1)
MONTHS_PER_YEAR: Final = 12


def check_zone(name: object, field: str = "zone") -> str:
    """The name itself when it is an IANA zone, or an error that names ``field``."""
    try:
        if isinstance(name, str) and name:
            return ZoneInfo(name).key
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; a directory's name is an OSError
        pass
    except KeyError:
        pass
    raise InvalidValueError(
        field, f"{name!r} is not an IANA time zone; write one such as Europe/Moscow or UTC"
    )


@lru_cache(
    maxsize=65_536
)  # about 180 years of one zone's midnights; the same few are asked for again and again
def start_of(day: date, zone: str) -> datetime:
    """The first instant of a local date.

    Where clocks jump over midnight (Santiago, September) it is the jump; where midnight comes twice
    (Havana, November) it is the first.
    """
    midnight = datetime.combine(day, time.min, ZoneInfo(zone))
    start = midnight.astimezone(UTC)
    if start.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return start
    # Midnight is inside a jump, which lies between its two readings.
    before, after = midnight.replace(fold=1).astimezone(UTC), start
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if middle.astimezone(ZoneInfo(zone)).date() >= day:
            after = middle
        else:
            before = middle
    return after


def date_at(at: datetime, zone: str) -> date:
    """The latest local date that has begun at this instant.

    It never goes back, even where clocks that are put back over midnight show yesterday again.
    """
    day = at.astimezone(ZoneInfo(zone)).date()
    return day + ONE_DAY if start_of(day + ONE_DAY, zone) <= at else day


def days_in_month(day: date) -> int:
    """28 to 31; leap years by the Gregorian rule, centuries included (R23)."""
    return calendar.monthrange(day.year, day.month)[1]


def add_months(day: date, months: int) -> date:
    """The same day of another month, or that month's last day where it is shorter (R93)."""
    index = day.year * MONTHS_PER_YEAR + day.month - 1 + months
    first = date(index // MONTHS_PER_YEAR, index % MONTHS_PER_YEAR + 1, 1)
    return first.replace(day=min(day.day, days_in_month(first)))


def start_of_month(day: date) -> date:
    """The first of the month that a date lies in."""
    return day.replace(day=1)
