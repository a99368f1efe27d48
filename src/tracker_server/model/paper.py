"""Invoices, credit notes and statements as values: what stands on them, in words that no template adds to.

A paper is made in the transaction of its payment and kept whole, so that it reads the same for ever, whatever
becomes of the account, the seller's address or the tax since.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Final

import msgspec

TAX_HUNDREDTHS_MAX: Final = 10_000  # 100.00 %
LINES_MAX: Final = 2_000  # of a statement; a longer period is asked for in parts


class PaperKind(StrEnum):
    """What a paper says."""

    INVOICE = "invoice"  # money came in
    CREDIT_NOTE = "credit_note"  # money went back


class LineKind(StrEnum):
    """What a line of an invoice is for."""

    PREPAYMENT = "prepayment"  # onto the balance
    CONNECTION = "connection"  # a tracker that was in the cart
    REFUND = "refund"
    TAKEN_BACK = "taken_back"  # by the bank


class Party(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who sells, or who buys. What is empty is not printed."""

    name: str = ""
    address: str = ""
    tax_id: str = ""
    email: str = ""
    phone: str = ""
    url: str = ""


class Seller(msgspec.Struct, frozen=True, omit_defaults=True):
    """The operator as it stands on its papers. ``tax_hundredths``: per cent × 100, within the prices."""

    party: Party = Party()
    tax_name: str = ""
    tax_hundredths: int = 0
    note: str = ""
    invoice_prefix: str = "I"
    credit_prefix: str = "C"
    zone: str = "UTC"  # whose dates the papers bear
    issue: bool = True
    hours: str = ""  # business hours, as they are set
    holidays: str = ""
    installation_hours: int = 0  # within which a visit is agreed on; 0: none is promised
    events_url: str = ""  # where the operator's own systems are told of invoices


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: what for, of which tracker or under which name, how much with tax."""

    kind: LineKind
    amount_minor: int
    of: str = ""


class Paper(msgspec.Struct, frozen=True, omit_defaults=True):
    """An invoice or a credit note. ``number`` is empty until it was taken from its series."""

    kind: PaperKind
    series: str
    issued_at: datetime
    issued_on: date
    language: str
    currency: str
    amount_minor: int
    seller: Seller
    buyer: Party
    lines: tuple[Line, ...]
    payment: str  # the name of the payment, refund or chargeback
    means: str = ""
    number: str = ""

    @property
    def tax_minor(self) -> int:
        """The tax within the amount, rounded half up."""
        return tax_within(self.amount_minor, self.seller.tax_hundredths)


class CartLine(msgspec.Struct, frozen=True):
    """A tracker in a cart, and what its connection cost when the cart was made."""

    unique_id: str
    amount_minor: int
    name: str = ""


def tax_within(gross_minor: int, hundredths: int) -> int:
    """The tax that a gross amount holds, rounded half up; of a negative one, as of its opposite."""
    assert 0 <= hundredths <= TAX_HUNDREDTHS_MAX, hundredths
    whole = 10_000 + hundredths
    tax = (2 * abs(gross_minor) * hundredths + whole) // (2 * whole)
    return tax if gross_minor >= 0 else -tax


def number_of(series: str, number: int) -> str:
    """``I2027-000012``."""
    return f"{series}-{number:06d}"


class StatementLine(msgspec.Struct, frozen=True):
    """One movement on a statement. ``day``: the date that a daily fee pays."""

    at: datetime
    kind: str
    of: str
    day: date | None
    amount_minor: int
    balance_minor: int


class Statement(msgspec.Struct, frozen=True):
    """All that moved on an account from a date through another, with the balance before and after."""

    first: date
    last: date
    zone: str
    language: str
    currency: str
    seller: Seller
    buyer: Party
    opening_minor: int
    closing_minor: int
    lines: tuple[StatementLine, ...]

    def sums(self) -> dict[str, int]:
        """What each kind of movement sums to, in minor units."""
        found: dict[str, int] = {}
        for line in self.lines:
            found[line.kind] = found.get(line.kind, 0) + line.amount_minor
        return found
