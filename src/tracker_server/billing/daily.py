"""The daily share of a month's price (R21 to R24, D1)."""

from __future__ import annotations

from datetime import date, datetime

from msgspec.structs import replace

from tracker_server.billing.book import Account, Kind
from tracker_server.billing.dates import days_in_month
from tracker_server.billing.work import Work, debit


def daily_share(monthly_minor: int, day: date) -> int:
    """What one date costs, in minor units: the step that ``floor(price * d / n)`` makes on day ``d`` of
    a month of ``n`` days.

    The shares of a whole month sum to its price exactly, and no stretch of dates differs from its exact
    value by a whole minor unit: rounding each day by itself would charge 100.13 for 100.00 in January.
    """
    days = days_in_month(day)
    return monthly_minor * day.day // days - monthly_minor * (day.day - 1) // days


def daily_id(device: str, day: date) -> str:
    """The book's id of a tracker's share of a date: there is one, whenever it is paid (R25)."""
    return f"daily:{device}:{day}"


def pay_date(work: Work, device: str, day: date, at: datetime, amount_minor: int) -> None:
    """A tracker's share of a date that is not paid yet."""
    transfer = debit(
        work.state,
        key=daily_id(device, day),
        kind=Kind.DAILY,
        at=at,
        amount_minor=amount_minor,
        revenue=Account.DAILY,
        device=device,
    )
    refused = work.post(replace(transfer, day=day))
    assert refused is None, f"{transfer.id}: {refused}"
