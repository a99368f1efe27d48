"""What becomes of a payment: states as a table, and for each message of a gateway what is to be done. Pure.

Messages come doubled, late and in any order. What cannot be done yet waits for what it needs; what was done is not
done again; what makes no sense changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

from msgspec import Struct

from tracker_server.payments.events import (
    AnyEvent,
    Failed,
    Paid,
    Refunded,
    RefundFailed,
    Reinstated,
    TakenBack,
)


class PaymentState(StrEnum):
    """Where a payment stands."""

    OPEN = "open"  # a link was made; the payer has not chosen how
    PENDING = "pending"  # the gateway's page is open, or its answer under way
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"
    MISMATCH = "mismatch"  # money came, and not what was asked for: for people to look at


# What a payment may become. Money that comes after all is taken, whatever was said before.
NEXT: Final[dict[tuple[PaymentState, PaymentState], str]] = {
    (PaymentState.OPEN, PaymentState.PENDING): "the payer chose a gateway",
    (PaymentState.OPEN, PaymentState.PAID): "paid",
    (PaymentState.OPEN, PaymentState.EXPIRED): "out of time",
    (PaymentState.OPEN, PaymentState.FAILED): "refused",
    (PaymentState.OPEN, PaymentState.MISMATCH): "another amount or currency came",
    (PaymentState.PENDING, PaymentState.PAID): "paid",
    (PaymentState.PENDING, PaymentState.FAILED): "refused, or given up",
    (PaymentState.PENDING, PaymentState.EXPIRED): "out of time",
    (PaymentState.PENDING, PaymentState.MISMATCH): "another amount or currency came",
    (PaymentState.FAILED, PaymentState.PENDING): "tried again",
    (PaymentState.FAILED, PaymentState.PAID): "paid after all",
    (PaymentState.FAILED, PaymentState.MISMATCH): "another amount or currency came",
    (PaymentState.EXPIRED, PaymentState.PAID): "paid after all",
    (PaymentState.EXPIRED, PaymentState.MISMATCH): "another amount or currency came",
}


class Known(Struct, frozen=True):
    """What is known of a payment. ``disputes``: those that took money back."""

    state: PaymentState
    amount_minor: int
    currency: str
    disputes: Collection[str] = ()
    payouts: Collection[str] = ()


class Credit(Struct, frozen=True):
    """Put it on the balance; open its cart."""

    amount_minor: int


class Move(Struct, frozen=True):
    """Only its state changes."""

    to: PaymentState
    detail: str = ""


class TakeBack(Struct, frozen=True):
    """It went back without our asking: take it from the balance, the rest is owed."""

    key: str
    amount_minor: int


class GiveAgain(Struct, frozen=True):
    """A chargeback was won: put it on the balance again."""

    key: str
    amount_minor: int


class PayoutDone(Struct, frozen=True):
    """The refund that we asked for arrived."""

    key: str
    reference: str


class PayoutFailed(Struct, frozen=True):
    """The refund that we asked for did not."""

    key: str
    detail: str


class Wait(Struct, frozen=True):
    """Not yet: what it needs has not been told."""


class Nothing(Struct, frozen=True):
    """Nothing is to be done, and why."""

    because: str


Action: TypeAlias = Credit | Move | TakeBack | GiveAgain | PayoutDone | PayoutFailed | Wait | Nothing

TAKES_MONEY: Final = frozenset(before for before, after in NEXT if after is PaymentState.PAID)


def follow(known: Known, event: AnyEvent) -> Action:
    """What a message means for a payment."""
    match event:
        case Paid():
            return _paid(known, event)
        case Failed(detail=detail):
            if (known.state, PaymentState.FAILED) in NEXT:
                return Move(PaymentState.FAILED, detail)
            return Nothing(f"it is {known.state}")
        case Refunded(key=key, refund=refund) if key and key in known.payouts:
            return PayoutDone(key, refund)
        case RefundFailed(key=key, detail=detail):
            return (
                PayoutFailed(key, detail) if key in known.payouts else Nothing("we asked for no such refund")
            )
        case Refunded(refund=refund):
            return _back(known, event, f"refund:{refund}")
        case TakenBack(dispute=dispute):
            return _back(known, event, f"dispute:{dispute}")
        case Reinstated(dispute=dispute):
            if dispute not in known.disputes:
                return Wait()
            wrong = _wrong_currency(known, event.currency)
            return wrong or GiveAgain(f"won:{dispute}", event.amount_minor)
        case _:
            assert_never(event)


def _paid(known: Known, event: Paid) -> Action:
    if known.state not in TAKES_MONEY:
        return Nothing(f"it is {known.state}")
    if (event.currency, event.amount_minor) != (known.currency, known.amount_minor):
        return Move(
            PaymentState.MISMATCH,
            f"asked for {known.amount_minor} {known.currency}, told of {event.amount_minor} {event.currency} "
            "(minor units); nothing was put on the balance",
        )
    return Credit(event.amount_minor)


def _back(known: Known, event: Refunded | TakenBack, key: str) -> Action:
    if known.state is PaymentState.MISMATCH:
        return Nothing("it was never on the balance")
    if known.state is not PaymentState.PAID:
        return Wait()
    return _wrong_currency(known, event.currency) or TakeBack(key, event.amount_minor)


def _wrong_currency(known: Known, currency: str) -> Nothing | None:
    if currency == known.currency:
        return None
    return Nothing(f"it is told in {currency}, and was paid in {known.currency}: to be looked at")


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> open: asked for"]
    lines += [f"    {before} --> {after}: {why}" for (before, after), why in NEXT.items()]
    return "\n".join(lines) + "\n"
