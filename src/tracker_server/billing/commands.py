"""What may be asked of the engine, and what it answers.

Each command may carry a ``key``, made by whoever asks: the same command under the same key is carried
out once, however often it comes (R20, R54); another command under a used key is refused.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import TypeAlias

import msgspec

from tracker_server.billing.book import Refused
from tracker_server.billing.facts import AnyFact
from tracker_server.billing.state import State
from tracker_server.billing.tariffs import Price


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that is asked for."""

    key: str = ""


class Connect(Command, frozen=True):
    """Add a tracker; as a test tracker it is never charged (R3). ``months`` is the first term's length
    on a term tariff (R88).
    """

    device: str
    priority: int
    test: bool = False
    months: int | None = None


class Convert(Command, frozen=True):
    """Make the test tracker a paying one (R84)."""

    device: str


class Remove(Command, frozen=True):
    """Delete a tracker; nothing comes back (R13)."""

    device: str


class Reprioritise(Command, frozen=True):
    """Change a tracker's turn (R35)."""

    device: str
    priority: int


class Activate(Command, frozen=True):
    """Pay what a blocked tracker owes now (R50)."""

    device: str


class BackPay(Command, frozen=True):
    """Pay for the dates on which a tracker was blocked, so that their history is shown (D5)."""

    device: str


class TopUp(Command, frozen=True):
    """Money came in; ``key`` is the payment's."""

    amount_minor: int
    means: str = ""


class Chargeback(Command, frozen=True):
    """The bank took a payment back (R57); None: what has not gone back of it."""

    payment: str
    amount_minor: int | None = None


class Refund(Command, frozen=True):
    """Give unused money back (R76); None: all of it."""

    amount_minor: int | None = None


class Ground(StrEnum):
    """By what right a contract is undone."""

    WITHDRAWAL = "withdrawal"  # R78: 14 days
    GUARANTEE = "guarantee"  # R113: the first month


class Withdraw(Command, frozen=True):
    """Undo the contract, in the customer's words; no reason is needed (R79)."""

    statement: str = ""
    ground: Ground = Ground.WITHDRAWAL


class Switch(Command, frozen=True):
    """Go to another tariff, now or at the start of a date (R65)."""

    tariff: str
    effective: date | None = None


class SetPrice(Command, frozen=True):
    """A tariff's price from a date on (R7)."""

    tariff: str
    price: Price


class Suspend(Command, frozen=True):
    """Pause one tracker, or all, through a date; None: as long as may be (R106)."""

    device: str | None = None
    last: date | None = None


class Resume(Command, frozen=True):
    """End the pause of one tracker, or of all."""

    device: str | None = None


class PayTerm(Command, frozen=True):
    """Pay months in advance for one tracker, or for all (R88)."""

    months: int
    device: str | None = None


class ChangeZone(Command, frozen=True):
    """Move the account's billing dates to another zone (D9)."""

    zone: str


class Purpose(StrEnum):
    """What a message is for."""

    ALERT = "alert"
    SYSTEM = "system"  # dunning, password: never debited (R72)


class Sms(Command, frozen=True):
    """An alert wants to go out; ``key`` is the alert's. Without ``text`` it counts as one segment."""

    device: str | None = None
    text: str | None = None
    purpose: Purpose = Purpose.ALERT
    has_email: bool = True


class SmsFailed(Command, frozen=True):
    """The provider could not deliver the SMS of this alert (R71)."""

    alert: str
    device: str | None = None
    has_email: bool = True


class Waive(Command, frozen=True):
    """Take dates that are not settled yet out of the daily fee (D8). The one command that does not
    settle first: it is meant for dates that an outage left open.
    """

    first: date
    last: date


class HoldCollection(Command, frozen=True):
    """Send no notices before a date (R102); None lifts the hold."""

    until: date | None


AnyCommand: TypeAlias = (
    Connect
    | Convert
    | Remove
    | Reprioritise
    | Activate
    | BackPay
    | TopUp
    | Chargeback
    | Refund
    | Withdraw
    | Switch
    | SetPrice
    | Suspend
    | Resume
    | PayTerm
    | ChangeZone
    | Sms
    | SmsFailed
    | Waive
    | HoldCollection
)


class Delivery(StrEnum):
    """How an alert goes out."""

    SMS = "sms"
    EMAIL = "email"  # R68
    IN_APP = "in_app"  # R75: no address; the delivery log says so
    SUPPRESSED = "suppressed"  # D13: the tracker is blocked


class Done(msgspec.Struct, frozen=True):
    """It was carried out, or there was nothing to do. ``delivery`` answers an SMS."""

    delivery: Delivery | None = None


class AlreadyDone(msgspec.Struct, frozen=True):
    """It was carried out before, under this key."""


class Outcome(msgspec.Struct, frozen=True):
    """The state after a command, the new facts, and the answer. A refused command leaves only what fell
    due before it.
    """

    state: State
    facts: tuple[AnyFact, ...]
    answer: Done | AlreadyDone | Refused
