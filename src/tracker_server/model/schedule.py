"""Calendars in iCalendar: what lasts at a moment. Pure; a calendar is read once a day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

CALENDAR_CHARACTERS_MAX: Final = 100_000
LASTS_MAX: Final = timedelta(days=32)  # of an event whose end matters: a month
DAYS_KEPT_MAX: Final = 2_000  # (calendar, day) pairs whose times are remembered


class ScheduleError(ValueError):
    """A calendar that cannot be read."""


def active_at(calendar: str, zone: str, at: datetime) -> bool:
    """Whether an event of the calendar lasts at a moment; its first instant counts, its last does not. Times
    without a zone of their own are those of ``zone``. Raises ScheduleError.
    """
    local = at.astimezone(ZoneInfo(zone))
    return any(begins <= at < ends for begins, ends in _times(calendar, zone, local.date()))


def ended_within(
    calendar: str, zone: str, after: datetime, until: datetime
) -> list[tuple[datetime, datetime]]:
    """The events that end in after < end ≤ until, by their ends; of any longer than ``LASTS_MAX`` nothing is known.
    Raises ScheduleError.
    """
    import icalendar
    import recurring_ical_events

    here = ZoneInfo(zone)
    try:
        read: Any = icalendar.Calendar.from_ical(calendar)
        found: Any = recurring_ical_events.of(read).between(
            (after - LASTS_MAX).astimezone(UTC), (until + timedelta(seconds=1)).astimezone(UTC)
        )
        times = {(_moment(one.start, here), _moment(one.end, here)) for one in found}
    except Exception as error:
        raise ScheduleError(
            f"cannot be read as iCalendar: {str(error)[:200] or type(error).__name__}"
        ) from error
    return sorted(
        ((begins, ends) for begins, ends in times if begins < ends and after < ends <= until),
        key=lambda pair: (pair[1], pair[0]),
    )


def check_calendar(text: str) -> None:
    """Refuse what no day could be read from. Raises ScheduleError."""
    if len(text) > CALENDAR_CHARACTERS_MAX:
        raise ScheduleError(f"has {len(text)} characters; at most {CALENDAR_CHARACTERS_MAX} are read")
    _times(text, "UTC", date(2026, 1, 1))


@lru_cache(DAYS_KEPT_MAX)
def _times(calendar: str, zone: str, day: date) -> tuple[tuple[datetime, datetime], ...]:
    """All that lasts at some moment of a local day."""
    import icalendar  # heavy, and most installations have no calendar
    import recurring_ical_events

    here = ZoneInfo(zone)
    begins = datetime.combine(day, time(), here)
    try:
        read: Any = icalendar.Calendar.from_ical(calendar)
        found: Any = recurring_ical_events.of(read).between(
            begins.astimezone(UTC), (begins + timedelta(days=1)).astimezone(UTC)
        )
        return tuple((_moment(one.start, here), _moment(one.end, here)) for one in found)
    except Exception as error:
        # the libraries raise what comes: ValueError, KeyError, their own
        raise ScheduleError(
            f"cannot be read as iCalendar: {str(error)[:200] or type(error).__name__}"
        ) from error


def _moment(value: date | datetime, here: tzinfo) -> datetime:
    if not isinstance(value, datetime):
        return datetime.combine(value, time(), here)
    return value if value.tzinfo else value.replace(tzinfo=here)


class Schedule(Struct, frozen=True):
    """A calendar, and the zone of the times in it that name none."""

    calendar: str
    zone: str

    def holds(self, at: datetime) -> bool:
        """Whether an event of it lasts at a moment."""
        return active_at(self.calendar, self.zone, at)
