"""The book: double entry, append-only, each entry chained to the one before it by its hash.

An amount is posted under an id that derives from the business fact (``daily:T1:2025-02-01``), so that
posting it again is harmless and posting something else under the same id is refused. A mistake is
reversed by another entry, never edited.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date, datetime
from enum import StrEnum
from typing import Final

import msgspec

from tracker_server.billing.reasons import Reason


class Account(StrEnum):
    """The accounts of one customer's book. Amounts have one sign: what raises the customer's means is
    positive on ``customer``; ``receivable`` is negative while the customer owes.
    """

    CUSTOMER = "customer"
    CONNECTION = "revenue:connection"
    DAILY = "revenue:daily"
    SMS = "revenue:sms"
    TERM = "revenue:term"
    GATEWAY = "gateway"
    REFUNDS = "refunds"
    RECEIVABLE = "receivable"


class Kind(StrEnum):
    """Why money moved. There is no other kind of debit (R5)."""

    TOPUP = "topup"
    CONNECTION = "connection"
    DAILY = "daily"
    TERM = "term"
    SMS = "sms"
    REFUND = "refund"
    REVERSAL = "reversal"


REVENUE: Final[dict[Kind, Account]] = {
    Kind.CONNECTION: Account.CONNECTION,
    Kind.DAILY: Account.DAILY,
    Kind.TERM: Account.TERM,
    Kind.SMS: Account.SMS,
}

# Which accounts an entry of each kind may touch: the schema of R5.
TOUCHES: Final[dict[Kind, frozenset[Account]]] = {
    Kind.TOPUP: frozenset({Account.GATEWAY, Account.CUSTOMER, Account.RECEIVABLE}),
    Kind.CONNECTION: frozenset({Account.CUSTOMER, Account.CONNECTION}),
    Kind.DAILY: frozenset({Account.CUSTOMER, Account.DAILY}),
    Kind.TERM: frozenset({Account.CUSTOMER, Account.TERM}),
    Kind.SMS: frozenset({Account.CUSTOMER, Account.SMS}),
    Kind.REFUND: frozenset({Account.CUSTOMER, Account.REFUNDS}),
    # A failed SMS, a withdrawal, a chargeback.
    Kind.REVERSAL: frozenset(Account) - {Account.REFUNDS},
}


class Posting(msgspec.Struct, frozen=True):
    """One account's side of a transfer."""

    account: Account
    amount_minor: int


class Part(msgspec.Struct, frozen=True):
    """What of one payment a refund gives back, or a chargeback takes (R80)."""

    payment: str
    amount_minor: int


class Transfer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A movement of money, and what it is for. ``amount_minor`` is as the customer sees it: negative
    for a debit. The fields below it say what an entry of its kind pays for.
    """

    id: str
    kind: Kind
    at: datetime
    currency: str
    amount_minor: int
    postings: tuple[Posting, ...]
    device: str | None = None
    day: date | None = None  # daily: the local date that is paid
    window_until: datetime | None = None  # connection: the instant W
    window_monthly_minor: int | None = None  # connection: the month's price that it is for (D11)
    term_from: date | None = None  # term: its anchor, from which all its months are counted
    term_months: int | None = None  # term: months since the anchor
    payment: str | None = None  # topup: the payment's key
    means: str | None = None  # topup: what it was paid with
    parts: tuple[Part, ...] = ()  # refund, chargeback


class Entry(msgspec.Struct, frozen=True):
    """A transfer in its place: numbered from 1, chained, with the spendable balance after it."""

    number: int
    transfer: Transfer
    balance_minor: int
    previous: str
    hash: str


class Known(msgspec.Struct, frozen=True):
    """What is remembered of an id that was used: a digest of the contents, and the amount."""

    digest: str
    amount_minor: int = 0


class Ids:
    """An append-only index of used ids, shared between the versions of a state: adding is O(1), and an
    older version does not see what a newer one added.
    """

    __slots__ = ("_known", "_size")

    def __init__(self, known: Iterable[tuple[str, Known]] = ()) -> None:
        self._known: dict[str, tuple[int, Known]] = {
            key: (index, value) for index, (key, value) in enumerate(known)
        }
        self._size = len(self._known)

    def find(self, key: str) -> Known | None:
        """What this version knows of an id."""
        found = self._known.get(key)
        return found[1] if found is not None and found[0] < self._size else None

    def with_id(self, key: str, known: Known) -> Ids:
        """A version with one id more."""
        assert self.find(key) is None, f"{key} is in use"
        newer = Ids.__new__(Ids)
        place = (self._size, known)
        if self._known.get(key) == place:
            shared = self._known  # another version went this very way before
        else:
            # A history that forks (a trial run, a forecast) goes its own way from here.
            shared = self._known if len(self._known) == self._size else dict(self._mine())
            shared[key] = place
        newer._known = shared  # noqa: SLF001 - own kind
        newer._size = self._size + 1  # noqa: SLF001 - own kind
        return newer

    def _mine(self) -> Iterable[tuple[str, tuple[int, Known]]]:
        return ((key, value) for key, value in self._known.items() if value[0] < self._size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and dict(self._mine()) == dict(other._mine())

    __hash__ = None  # type: ignore[assignment]


class Book(msgspec.Struct, frozen=True):
    """The sums of all entries so far, and the hash of the last."""

    currency: str
    count: int = 0
    head: str = "0" * 64
    balances: dict[Account, int] = {}
    ids: Ids = msgspec.field(default_factory=Ids)

    def of(self, account: Account) -> int:
        """An account's balance, in minor units."""
        return self.balances.get(account, 0)

    @property
    def balance_minor(self) -> int:
        """What the customer can spend."""
        return self.of(Account.CUSTOMER)

    @property
    def receivable_minor(self) -> int:
        """What the customer owes; a top-up pays it first (R57)."""
        return -self.of(Account.RECEIVABLE)


class Posted(msgspec.Struct, frozen=True):
    """The transfer is in the book."""

    book: Book
    entry: Entry


class AlreadyPosted(msgspec.Struct, frozen=True):
    """The same transfer was in the book before; nothing changes."""


class Refused(msgspec.Struct, frozen=True):
    """Nothing was done. ``next_allowed`` is when it may be asked again, where that is known."""

    reason: Reason
    next_allowed: datetime | None = None


def digest_of(value: object) -> str:
    """A digest of a value's contents."""
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()


def post(book: Book, transfer: Transfer) -> Posted | AlreadyPosted | Refused:
    """Write a transfer into the book, once."""
    digest = digest_of(transfer)
    known = book.ids.find(transfer.id)
    if known is not None:
        return AlreadyPosted() if known.digest == digest else Refused(Reason.ID_REUSED)
    if fault := fault_of(book, transfer):
        return Refused(fault)
    balances = dict(book.balances)
    for posting in transfer.postings:
        balances[posting.account] = balances.get(posting.account, 0) + posting.amount_minor
    if balances.get(Account.CUSTOMER, 0) < 0:
        return Refused(Reason.INSUFFICIENT_FUNDS)
    if balances.get(Account.RECEIVABLE, 0) > 0:
        return Refused(Reason.UNBALANCED)
    chained = hashlib.sha256(f"{book.head}{digest}".encode()).hexdigest()
    entry = Entry(book.count + 1, transfer, balances.get(Account.CUSTOMER, 0), book.head, chained)
    ids = book.ids.with_id(transfer.id, Known(digest, transfer.amount_minor))
    return Posted(Book(book.currency, entry.number, chained, balances, ids), entry)


def fault_of(book: Book, transfer: Transfer) -> Reason | None:
    """Why a transfer is none, whatever the balance."""
    if transfer.currency != book.currency:
        return Reason.WRONG_CURRENCY
    touched = {posting.account for posting in transfer.postings}
    if not touched <= TOUCHES[transfer.kind]:
        return Reason.WRONG_ACCOUNT
    if sum(posting.amount_minor for posting in transfer.postings) != 0 or transfer.amount_minor == 0:
        return Reason.UNBALANCED
    own = (Account.CUSTOMER, Account.RECEIVABLE)
    if sum(p.amount_minor for p in transfer.postings if p.account in own) != transfer.amount_minor:
        return Reason.UNBALANCED
    return None


def chain_holds(entries: Iterable[Entry]) -> bool:
    """Whether the entries, from the first on, are those that were written."""
    head = "0" * 64
    for number, entry in enumerate(entries, start=1):
        chained = hashlib.sha256(f"{head}{digest_of(entry.transfer)}".encode()).hexdigest()
        if (entry.number, entry.previous, entry.hash) != (number, head, chained):
            return False
        head = chained
    return True
