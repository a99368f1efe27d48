"""The daily share of a month's price (R21 to R24, D1)."""

from __future__ import annotations

from datetime import date

from tracker_server.billing.dates import days_in_month


def daily_share(monthly_minor: int, day: date) -> int:
    """What one date costs, in minor units: the step that ``floor(price * d / n)`` makes on day ``d`` of
    a month of ``n`` days.

    The shares of a whole month sum to its price exactly, and no stretch of dates differs from its exact
    value by a whole minor unit: rounding each day by itself would charge 100.13 for 100.00 in January.
    """
    days = days_in_month(day)
    return monthly_minor * day.day // days - monthly_minor * (day.day - 1) // days
