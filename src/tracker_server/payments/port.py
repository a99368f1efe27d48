"""The port: what a payment gateway must be able to do for us, and the errors in which it fails.

An adapter knows one gateway's language and nothing else: no database, no account, no balance. What it reads from a
message is an ``Event``; what follows from that is decided in ``states.py`` and done in ``storage``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from tracker_server.payments.events import AnyEvent

BODY_BYTES_MAX = 262_144  # of a message; Stripe's largest are some tens of thousands


class Checkout(Struct, frozen=True):
    """What a customer is to pay. ``return_url``: where its browser goes afterwards; nothing depends on it."""

    payment: str
    amount_minor: int
    currency: str
    description: str
    language: str
    return_url: str
    email: str = ""


class Started(Struct, frozen=True):
    """The gateway's page for it. ``reference``: the gateway's name for it; empty where it uses ours."""

    url: str
    reference: str = ""


class Payback(Struct, frozen=True):
    """Money to be given back by the means it came with. ``key``: the same again is the same refund."""

    key: str
    payment: str
    reference: str
    charge: str
    amount_minor: int
    currency: str


class TakenOver(Struct, frozen=True):
    """The gateway gives it back. ``done``: it is sure already; else a message will tell."""

    reference: str
    done: bool


class BadSignatureError(Exception):
    """A message that the gateway did not sign: answered 400, and nothing happens."""


class BadMessageError(Exception):
    """A signed message that cannot be read; the text names the field and the cure."""


class GatewayAwayError(Exception):
    """The gateway does not answer, or not now: worth trying again."""


class GatewayRefusedError(Exception):
    """The gateway will not: trying again does not help."""


class Gateway(Protocol):
    """A payment gateway."""

    @property
    def name(self) -> str:
        """In addresses, rows and logs."""
        ...

    @property
    def title(self) -> str:
        """What payers choose by."""
        ...

    @property
    def offers_checkout(self) -> bool:
        """Whether a customer can be sent to it; else it only tells of payments."""
        ...

    async def start(self, checkout: Checkout) -> Started:
        """Have a page on which it can be paid; again for the same payment, the same page. Raises GatewayAwayError,
        GatewayRefusedError.
        """
        ...

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> AnyEvent | None:
        """What a message says; None where it is none of our business. Header names are in lower case. Raises
        BadSignatureError, BadMessageError.
        """
        ...

    async def give_back(self, payback: Payback) -> TakenOver:
        """Give money back. Raises GatewayAwayError, GatewayRefusedError."""
        ...
