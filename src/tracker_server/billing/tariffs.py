"""Tariffs: what a tracker costs, in which mode, from which date on, and what it may do.

A tariff is never edited: a new price is one more version with its first date (R7), so that an entry
written under the old one can be recomputed for ever.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum

import msgspec


class Feature(StrEnum):
    """What of the server's own a tariff may be without; an operator's other words are for people to read."""

    SENSORS = "sensors"  # the values that come with a fix or a report: fuel, doors, temperatures
    TRIPS = "trips"  # trips and stops


class Mode(StrEnum):
    """How a tariff charges."""

    FREE = "free"  # nothing, ever (R6)
    BALANCE = "balance"  # a connection fee, 31 days, then a share of the month's price each date
    TERM = "term"  # whole months in advance, one after another


class Price(msgspec.Struct, frozen=True):
    """One version of a tariff's prices, in minor units; ``sms_minor`` is None where SMS is not offered."""

    since: date
    monthly_minor: int
    sms_minor: int | None = None


class Tariff(msgspec.Struct, frozen=True):
    """A tariff with its versions, oldest first, and its limits."""

    name: str
    mode: Mode
    prices: tuple[Price, ...]
    features: frozenset[str] = frozenset()
    history_days: int | None = None  # None: no limit, here and below
    fences_max: int | None = None
    users_max: int | None = None
    sms_max: int | None = None  # in a calendar month of the account's zone; beyond it an e-mail goes

    def price_on(self, day: date) -> Price:
        """The version in force on a date; the first one reaches back without end."""
        return next((price for price in reversed(self.prices) if price.since <= day), self.prices[0])

    def with_price(self, price: Price) -> Tariff:
        """The tariff with one more version, which takes the place of any that starts on or after it."""
        kept = tuple(old for old in self.prices if old.since < price.since)
        return msgspec.structs.replace(self, prices=(*kept, price))
