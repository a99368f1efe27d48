"""The monthly report as values: what each tracker did in a month, or for how many days it was blocked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from msgspec import Struct

from tracker_server.model.paper import Party, Seller

DUE_ON: Final = (
    3  # the business day of the month on which it goes out, so that an outage leaves two days until the fifth
)
DEADLINE: Final = 5
SATURDAY: Final = 5
OFFLINE_MIN: Final = timedelta(hours=1)  # a shorter silence is a tunnel, and no incident
TRACKERS_MAX: Final = 2_000  # of one report
ONE_DAY: Final = timedelta(days=1)


class TrackerMonth(Struct, frozen=True):
    """One tracker's line. ``distance_mm`` None: it is hidden, and nothing that it sent is told."""

    name: str
    distance_mm: int | None
    trips: int
    incidents: int
    requests: int
    blocked_days: int


class MonthlyReport(Struct, frozen=True):
    """A month of an account."""

    month: date
    language: str
    seller: Seller
    buyer: Party
    trackers: tuple[TrackerMonth, ...]
    made_at: datetime


class Happening(Struct, frozen=True):
    """An event that counts, or ends one that does."""

    type: str
    at: datetime


def business_day(month: date, number: int) -> date:
    """The n-th day of a month that is no Saturday and no Sunday."""
    day = month.replace(day=1)
    while True:
        if day.weekday() < SATURDAY:
            number -= 1
            if not number:
                return day
        day += ONE_DAY


def month_before(day: date) -> date:
    """The first of the month before."""
    return (day.replace(day=1) - ONE_DAY).replace(day=1)


def next_month(month: date) -> date:
    """The first of the month after."""
    return (month.replace(day=28) + 4 * ONE_DAY).replace(day=1)


def incidents_and_requests(happenings: Sequence[Happening], ends: datetime) -> tuple[int, int]:
    """What was unexpected (an hour and more offline, an alarm), and what was scheduled (maintenance that fell due).
    ``happenings`` are of one tracker, by time; what is still offline is so until ``ends``.
    """
    incidents = sum(one.type == "alarm" for one in happenings)
    requests = sum(one.type == "maintenance" for one in happenings)
    since: datetime | None = None
    for one in happenings:
        if one.type == "deviceOffline" and since is None:
            since = one.at
        elif one.type == "deviceOnline" and since is not None:
            incidents += one.at - since > OFFLINE_MIN
            since = None
    if since is not None:
        incidents += ends - since > OFFLINE_MIN
    return incidents, requests


def days_within(spans: Sequence[tuple[date, date]], month: date) -> int:
    """On how many dates of a month at least one of the spans, ends included, was under way."""
    last = next_month(month) - ONE_DAY
    found: set[date] = set()
    for first, end in spans:
        day = max(first, month)
        while day <= min(end, last):
            found.add(day)
            day += ONE_DAY
    return len(found)
