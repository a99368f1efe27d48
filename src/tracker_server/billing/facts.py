"""What can happen to an account: the journal is a list of these, and the state is their fold.

Facts are written down as they happened and never change. Storage keeps them as tagged JSON.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TypeAlias

import msgspec

from tracker_server.billing.book import Entry, Refused
from tracker_server.billing.state import Gap, Plan
from tracker_server.billing.tariffs import Price


class Fact(msgspec.Struct, frozen=True, tag=True):
    """Something that happened at an instant."""

    at: datetime


class Connected(Fact, frozen=True):
    """A tracker was added."""

    device: str
    priority: int
    test: bool


class Converted(Fact, frozen=True):
    """A test tracker became a paying one."""

    device: str


class Removed(Fact, frozen=True):
    """A tracker was deleted."""

    device: str


class Reprioritised(Fact, frozen=True):
    """The owner changed a tracker's turn."""

    device: str
    priority: int


class Blocked(Fact, frozen=True):
    """A tracker's fee could not be paid, or its term or test time ended."""

    device: str


class Unblocked(Fact, frozen=True):
    """A tracker is no longer blocked by billing."""

    device: str


class SmsCounted(Fact, frozen=True):
    """One SMS of those that the tariff allows in a month; ``count`` -1: it came back."""

    count: int = 1


class LeftUnpaid(Fact, frozen=True):
    """A block was lifted, and this part of its time is not paid for (D5)."""

    device: str
    gap: Gap


class Revealed(Fact, frozen=True):
    """A tracker's unpaid time was paid for after the event."""

    device: str


class Suspended(Fact, frozen=True):
    """A tracker was paused through a date."""

    device: str
    last: date


class Resumed(Fact, frozen=True):
    """A tracker's pause ended."""

    device: str


class Switched(Fact, frozen=True):
    """The account went to another tariff."""

    tariff: str


class Planned(Fact, frozen=True):
    """A switch was asked for, from a later date on. It takes the place of an earlier plan."""

    plan: Plan


class PlanEnded(Fact, frozen=True):
    """The plan's date came; with a reason where it could not be kept."""

    plan: Plan
    refused: Refused | None = None


class Priced(Fact, frozen=True):
    """The operator set a tariff's price from a date on."""

    tariff: str
    price: Price


class ZoneChanged(Fact, frozen=True):
    """The account's billing dates follow another zone from now on."""

    zone: str


class Waived(Fact, frozen=True):
    """The operator took a range of dates out of the daily fee."""

    first: date
    last: date


class CollectionHeld(Fact, frozen=True):
    """No notices before this date; None lifts the hold."""

    until: date | None


class Withdrawn(Fact, frozen=True):
    """The customer withdrew from the contract, in these words (R79)."""

    statement: str


class Accepted(Fact, frozen=True):
    """A command was carried out under this id."""

    id: str
    digest: str


class Booked(Fact, frozen=True):
    """Money moved."""

    entry: Entry


AnyFact: TypeAlias = (
    Connected
    | Converted
    | Removed
    | Reprioritised
    | Blocked
    | Unblocked
    | SmsCounted
    | LeftUnpaid
    | Revealed
    | Suspended
    | Resumed
    | Switched
    | Planned
    | PlanEnded
    | Priced
    | ZoneChanged
    | Waived
    | CollectionHeld
    | Withdrawn
    | Accepted
    | Booked
)
