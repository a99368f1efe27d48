"""What the engine knows of one customer's account: frozen values, folded from its facts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum

import msgspec

from tracker_server.billing.book import Book, Ids
from tracker_server.billing.dates import add_months, date_at, start_of
from tracker_server.billing.tariffs import Price, Tariff


class SmsUnit(StrEnum):
    """What one SMS debit is for (D10)."""

    MESSAGE = "message"
    SEGMENT = "segment"


class WithdrawalAmount(StrEnum):
    """What comes back on a withdrawal within 14 days (D12)."""

    FULL = "full"
    PROPORTIONATE = "proportionate"


class Unlock(StrEnum):
    """Whether money on the balance unlocks by itself (R48), or only at the owner's click (R50)."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


class Reveal(StrEnum):
    """What is shown, once a block is lifted, of the time that was blocked (D5)."""

    ALL = "all"
    PAID_DATES_ONLY = "paid_dates_only"
    BACK_PAY = "back_pay"  # nothing, until its dates are paid for


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's choices where the published terms leave one."""

    switches_per_month_max: int = 2  # R60
    sms_unit: SmsUnit = SmsUnit.MESSAGE
    reserve_days: int = 0  # R74: dates whose fees an SMS may not eat
    test_days_max: int | None = None  # R87
    withdrawal_days: int = 14  # R78
    withdrawal_amount: WithdrawalAmount = WithdrawalAmount.FULL
    guarantee_months: int = 1  # R113
    suspension_months_max: int = 6  # R106, R109: in any 12 months
    unlock: Unlock = Unlock.AUTOMATIC
    reveal: Reveal = Reveal.ALL  # D5
    charge_difference: bool = False  # D11: on a switch to a dearer tariff within the 31 days


class Term(msgspec.Struct, frozen=True):
    """Months paid in advance, counted from an anchor so that the end of a month keeps (R93)."""

    start: date
    months: int

    @property
    def end(self) -> date:
        """The first date that is no longer paid."""
        return add_months(self.start, self.months)


class Suspension(msgspec.Struct, frozen=True):
    """A pause under way: since an instant, through a date; it ends by itself at the next midnight."""

    since: datetime
    first: date
    last: date


class Pause(msgspec.Struct, frozen=True):
    """A pause that is over: its first date, and the date of its end."""

    first: date
    end: date


class Gap(msgspec.Struct, frozen=True):
    """A stretch of blocked time that nobody paid for, its end not included."""

    start: datetime
    end: datetime


class Device(msgspec.Struct, frozen=True):
    """One tracker as billing sees it. ``episode`` numbers the account's connections: to connect, to
    convert, to add again and to go from free to paid each begin one, and owe their own fee.
    """

    id: str
    priority: int
    connected_at: datetime
    episode: int
    test: bool = False
    entered: bool = False  # this episode's connection fee, or first term, is paid
    window_until: datetime | None = None
    paid_on: date | None = None  # the last date that a daily debit paid
    term: Term | None = None
    blocked_since: datetime | None = None
    suspension: Suspension | None = None
    pauses: tuple[Pause, ...] = ()
    window_monthly_minor: int | None = (
        None  # the month's price that the 31 days are paid at, where that is asked (D11)
    )
    gaps: tuple[Gap, ...] = ()  # what D5 keeps hidden


class Payment(msgspec.Struct, frozen=True):
    """A top-up, and how much of it has gone back."""

    key: str
    means: str
    amount_minor: int
    returned_minor: int = 0

    @property
    def returnable_minor(self) -> int:
        """What a refund may still give back by this payment's means."""
        return max(0, self.amount_minor - self.returned_minor)


class Plan(msgspec.Struct, frozen=True):
    """A switch that waits for its date (R65)."""

    tariff: str
    effective: date
    key: str


class TariffSince(msgspec.Struct, frozen=True):
    """From this instant on the account was on this tariff (R64)."""

    at: datetime
    tariff: str


class Waiver(msgspec.Struct, frozen=True):
    """Dates on which no daily fee falls due (D8), both included."""

    first: date
    last: date


class SmsCount(msgspec.Struct, frozen=True):
    """SMS of a calendar month, by its first date, on a tariff that limits them."""

    month: date
    count: int


class State(msgspec.Struct, frozen=True):
    """One customer's account. All that happened up to ``settled_to`` is in it, that instant included."""

    zone: str
    settings: Settings
    tariffs: dict[str, Tariff]
    concluded_at: datetime
    settled_to: datetime
    book: Book
    history: tuple[TariffSince, ...]
    devices: dict[str, Device] = {}
    episodes: int = 0
    switches: tuple[datetime, ...] = ()
    plan: Plan | None = None
    payments: dict[str, Payment] = {}
    requests: Ids = msgspec.field(default_factory=Ids)
    waivers: tuple[Waiver, ...] = ()
    collection_hold: date | None = None
    withdrawn_at: datetime | None = None
    sms_count: SmsCount | None = None

    def sms_in(self, month: date) -> int:
        """SMS counted in a calendar month, by its first date."""
        count = self.sms_count
        return count.count if count is not None and count.month == month else 0

    @property
    def tariff(self) -> Tariff:
        """The tariff in force."""
        return self.tariffs[self.history[-1].tariff]

    def price_on(self, day: date) -> Price:
        """The prices in force on a date, by today's tariff."""
        return self.tariff.price_on(day)

    def date_at(self, at: datetime) -> date:
        """The account's local date."""
        return date_at(at, self.zone)

    def start_of(self, day: date) -> datetime:
        """The first instant of an account's local date."""
        return start_of(day, self.zone)

    def waived(self, day: date) -> bool:
        """Whether a date's daily fee was waived."""
        return any(waiver.first <= day <= waiver.last for waiver in self.waivers)

    def by_turn(self) -> list[Device]:
        """The trackers in the order in which they are paid: the owner's, then the older, then the id (D3)."""
        return sorted(
            self.devices.values(), key=lambda device: (device.priority, device.connected_at, device.id)
        )


def open_account(
    *,
    currency: str,
    zone: str,
    tariff: str,
    tariffs: dict[str, Tariff],
    at: datetime,
    settings: Settings | None = None,
) -> State:
    """An account as it begins, with nothing on it. The contract is concluded at ``at``."""
    assert tariff in tariffs, f"{tariff} is not among the tariffs"
    return State(
        zone=zone,
        settings=settings or Settings(),
        tariffs=tariffs,
        concluded_at=at.astimezone(UTC),
        settled_to=at.astimezone(UTC),
        book=Book(currency),
        history=(TariffSince(at.astimezone(UTC), tariff),),
    )
