"""A command under way: the state so far and the facts noted so far. Thrown away when it is refused."""

from __future__ import annotations

from datetime import datetime

from tracker_server.billing.book import Account, AlreadyPosted, Kind, Posted, Posting, Refused, Transfer, post
from tracker_server.billing.evolve import evolve
from tracker_server.billing.facts import AnyFact, Booked
from tracker_server.billing.state import State


class Work:
    """Collects facts and keeps the state that they lead to."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.facts: list[AnyFact] = []

    def note(self, fact: AnyFact) -> None:
        """Something happened."""
        self.state = evolve(self.state, fact)
        self.facts.append(fact)

    def post(self, transfer: Transfer) -> Refused | None:
        """Move money; refused when the book refuses, or when this very transfer was made before."""
        match post(self.state.book, transfer):
            case Posted(entry=entry):
                self.note(Booked(transfer.at, entry))
                return None
            case AlreadyPosted():
                raise AssertionError(f"{transfer.id} is posted twice: the state forgot that it was")
            case Refused() as refused:
                return refused

    @property
    def balance_minor(self) -> int:
        """What the customer can spend now."""
        return self.state.book.balance_minor


def debit(
    state: State,
    *,
    key: str,
    kind: Kind,
    at: datetime,
    amount_minor: int,
    revenue: Account,
    device: str | None,
) -> Transfer:
    """A transfer from the customer to a revenue account."""
    return Transfer(
        id=key,
        kind=kind,
        at=at,
        currency=state.book.currency,
        amount_minor=-amount_minor,
        postings=(Posting(Account.CUSTOMER, -amount_minor), Posting(revenue, amount_minor)),
        device=device,
    )


def credit(
    state: State, key: str, amount_minor: int, revenue: Account, device: str | None, at: datetime
) -> Transfer:
    """A reversal of a debit: what is owed is paid from it first, as from any money that comes in."""
    owed_minor = min(state.book.receivable_minor, amount_minor)
    postings = (
        Posting(revenue, -amount_minor),
        Posting(Account.RECEIVABLE, owed_minor),
        Posting(Account.CUSTOMER, amount_minor - owed_minor),
    )
    return Transfer(
        id=key,
        kind=Kind.REVERSAL,
        at=at,
        currency=state.book.currency,
        amount_minor=amount_minor,
        postings=tuple(posting for posting in postings if posting.amount_minor),
        device=device,
    )
