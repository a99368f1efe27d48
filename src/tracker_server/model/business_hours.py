"""Business hours (R124): when the clock of a promise to a customer starts. Debits, blocks and their notices know none."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from tracker_server.model.money import InvalidValueError

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM: Final = re.compile(r"(\w{3})(?:-(\w{3}))? +(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", re.ASCII)
_CLOSED_DAYS_MAX: Final = 366  # in a row; beyond it the office is closed for good, and no promise is made


class BusinessHours(Struct, frozen=True):
    """Open on these days of the week (Monday is 0) from ``opens`` until before ``closes``, but on no holiday."""

    days: frozenset[int]
    opens: time
    closes: time
    holidays: frozenset[date] = frozenset()

    def starts(self, at: datetime, zone: str) -> datetime:
        """When the clock starts for what happened at an instant: at once while the office is open, else as it opens next."""
        local = at.astimezone(ZoneInfo(zone))
        day = local.date()
        if self._open_on(day) and local.time() < self.closes:
            return at if local.time() >= self.opens else self._opening(day, zone)
        for _ in range(_CLOSED_DAYS_MAX):
            day += timedelta(days=1)
            if self._open_on(day):
                return self._opening(day, zone)
        return at

    def _open_on(self, day: date) -> bool:
        return day.weekday() in self.days and day not in self.holidays

    def _opening(self, day: date, zone: str) -> datetime:
        return datetime.combine(day, self.opens, ZoneInfo(zone))


def business_hours(text: str, holidays: str, field: str) -> BusinessHours | None:
    """``Mon-Fri 9:00-18:30``, and dates that are none; None for an empty text: always open. Raises InvalidValueError."""
    closed: set[date] = set()
    for one in filter(None, re.split(r"[\s,]+", holidays)):
        try:
            closed.add(date.fromisoformat(one))
        except ValueError:
            raise InvalidValueError(
                f"{field}holidays", f"{one!r} is no date; write some such as 2027-01-01, 2027-05-01"
            ) from None
    if not text.strip():
        return None
    found = _FORM.fullmatch(text.strip())
    wrong = InvalidValueError(
        f"{field}hours", f"{text!r} is none; write days and times such as Mon-Fri 9:00-18:30"
    )
    if found is None:
        raise wrong
    try:
        first, last = DAYS.index(found[1].lower()), DAYS.index((found[2] or found[1]).lower())
        opens, closes = time(int(found[3]), int(found[4])), time(int(found[5]), int(found[6]))
    except ValueError:
        raise wrong from None
    if first > last or opens >= closes:
        raise wrong
    return BusinessHours(frozenset(range(first, last + 1)), opens, closes, frozenset(closed))
