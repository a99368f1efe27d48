"""What a gateway tells: the same few things, whoever tells them and in whichever order.

Amounts are minor units as ISO 4217 counts them. ``id`` is the gateway's own name for the message: told again
under it, it counts once. A message names its payment by our id where the gateway keeps it, and always by its
own ``references``.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Something that a gateway says happened."""

    id: str
    at: datetime
    payment: str = ""
    references: tuple[str, ...] = ()


class Paid(Event, frozen=True, kw_only=True):
    """The customer's money is there. ``charge``: the gateway's name for the money, by which it is given back."""

    amount_minor: int
    currency: str
    charge: str = ""
    means: str = ""


class Failed(Event, frozen=True, kw_only=True):
    """It will not come: refused, given up, out of time."""

    detail: str = ""


class Refunded(Event, frozen=True, kw_only=True):
    """Money went back. ``key``: of our payout, where we asked for it; else somebody did it at the gateway."""

    refund: str
    amount_minor: int
    currency: str
    key: str = ""


class RefundFailed(Event, frozen=True, kw_only=True):
    """A refund that we asked for did not arrive."""

    refund: str
    key: str = ""
    detail: str = ""


class TakenBack(Event, frozen=True, kw_only=True):
    """The customer's bank took the money back: a chargeback."""

    dispute: str
    amount_minor: int
    currency: str


class Reinstated(Event, frozen=True, kw_only=True):
    """A chargeback was won: the money is ours again."""

    dispute: str
    amount_minor: int
    currency: str


AnyEvent: TypeAlias = Paid | Failed | Refunded | RefundFailed | TakenBack | Reinstated
