"""What is told, as the outbox keeps it: facts, not sentences. The wording is made as it is sent."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec

from tracker_server.model.paper import Paper

Language = Literal["en", "es", "ru"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "es", "ru")


def spoken(language: str) -> Language:
    """A language that we have words of: this one, or English."""
    match language:
        case "en" | "es" | "ru":
            return language
        case _:
            return "en"


TRACKERS_MAX: Final = 100  # named in one letter; the rest are counted

MoneyKind = Literal["ending", "overdue", "low", "blocked", "unblocked", "resuming", "purge"]


class TrackerLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tracker that a letter is about; ``on``: its own date, where it has one."""

    name: str
    on: date | None = None


class MoneyNotice(msgspec.Struct, frozen=True, tag="money"):
    """A notice of billing. ``on`` is the account's local date that it is about, amounts are minor units of
    ``currency``, ``trackers`` the first of the ``count`` concerned, ``level`` days from ``on``.
    """

    kind: MoneyKind
    level: int
    account: str
    language: Language
    currency: str
    amount_minor: int
    balance_minor: int
    on: date
    trackers: tuple[TrackerLine, ...]
    count: int


class Place(msgspec.Struct, frozen=True):
    """Where it happened, in degrees (WGS 84)."""

    latitude: float
    longitude: float


class EventNotice(msgspec.Struct, frozen=True, tag="event", omit_defaults=True):
    """Something that a tracker did. ``zone``: the account's, in which ``occurred_at`` is told. ``facts``: those of the
    event's attributes that its sentences may use. ``link``: where more is to be seen. ``picture``: whether a mail is to show
    a map of it.
    """

    event: str
    tracker: str
    unique_id: str
    account: str
    language: Language
    zone: str
    occurred_at: datetime
    fence: str = ""
    facts: dict[str, Any] = {}
    place: Place | None = None
    link: str = ""
    event_id: int | None = None
    device_id: int | None = None
    command: dict[str, Any] | None = None
    fence_id: int | None = None
    picture: bool = False


class InvoiceLetter(msgspec.Struct, frozen=True, tag="paper"):
    """An invoice or a credit note, which is attached as PDF."""

    paper: Paper


class TestLetter(msgspec.Struct, frozen=True, tag="test"):
    """Whether a channel works."""

    __test__ = False  # no test case, whatever pytest thinks of its name

    language: Language = "en"


class AnnouncementLetter(msgspec.Struct, frozen=True, tag="announcement"):
    """What somebody who manages users tells them, in his own words."""

    language: Language
    subject: str
    text: str


class PasswordLetter(msgspec.Struct, frozen=True, tag="password"):
    """Somebody forgot his password: the link works once, for ``minutes``."""

    language: Language
    link: str
    minutes: int


class SupportLetter(msgspec.Struct, frozen=True, tag="support"):
    """To the operator's own support: a tracker that was told to restart sent no correct position for an hour. All that
    is known of its line; of its place, nothing.
    """

    tracker: str
    unique_id: str
    account: str
    zone: str
    reset_at: datetime
    answered_at: datetime | None
    contact_at: datetime | None
    state: str
    protocol: str
    without_fix: int
    others: int


class InvoiceIssued(msgspec.Struct, frozen=True, tag="issued"):
    """To the operator's own systems: an invoice was issued, and which trackers it connects (R114)."""

    number: str
    account: str
    currency: str
    amount_minor: int
    issued_at: datetime
    trackers: tuple[str, ...] = ()


class InstallationLetter(msgspec.Struct, frozen=True, tag="installation"):
    """To the operator: no visit was agreed on for an invoice by ``due_at``."""

    number: str
    account: str
    zone: str
    issued_at: datetime
    due_at: datetime


class DueLetter(msgspec.Struct, frozen=True, tag="due"):
    """To a customer who asked by his tax number: what shows all his trackers again, and where to pay it (R117). Nothing due:
    ``amount_minor`` 0 and no ``link``.
    """

    language: Language
    account: str
    currency: str
    amount_minor: int
    link: str = ""


Letter: TypeAlias = (
    MoneyNotice
    | EventNotice
    | InvoiceLetter
    | TestLetter
    | AnnouncementLetter
    | PasswordLetter
    | SupportLetter
    | InvoiceIssued
    | InstallationLetter
    | DueLetter
)


class LetterError(ValueError):
    """A payload of the outbox that is no letter this program knows."""


def encode(letter: Letter) -> Any:
    """A letter as JSON's values."""
    return msgspec.to_builtins(letter)


def decode(payload: Any) -> Letter:
    """The letter of a payload. Raises LetterError."""
    try:
        return msgspec.convert(payload, Letter)
    except msgspec.ValidationError as error:
        raise LetterError(str(error)) from None
