"""Money that comes in and goes back: top-ups, chargebacks, refunds, withdrawals (R54, R57, R76 to R82)."""

from __future__ import annotations

from datetime import date, datetime

from tracker_server.billing.book import REVENUE, Account, Kind, Part, Posting, Refused, Transfer
from tracker_server.billing.commands import Chargeback, Ground, Refund, TopUp, Withdraw
from tracker_server.billing.dates import ONE_DAY, add_months
from tracker_server.billing.facts import Withdrawn
from tracker_server.billing.reasons import Reason
from tracker_server.billing.state import Device, State, WithdrawalAmount
from tracker_server.billing.switches import window_days_left
from tracker_server.billing.windows import WINDOW_DAYS
from tracker_server.billing.work import Work, credit


def top_up(work: Work, command: TopUp, at: datetime) -> Refused | None:
    """Money came in: what is owed is paid from it first, the rest can be spent."""
    if command.amount_minor <= 0:
        return Refused(Reason.AMOUNT_NOT_POSITIVE)
    book = work.state.book
    owed_minor = min(book.receivable_minor, command.amount_minor)
    postings = (
        Posting(Account.GATEWAY, -command.amount_minor),
        Posting(Account.RECEIVABLE, owed_minor),
        Posting(Account.CUSTOMER, command.amount_minor - owed_minor),
    )
    return work.post(
        Transfer(
            id=f"topup:{command.key}",
            kind=Kind.TOPUP,
            at=at,
            currency=book.currency,
            amount_minor=command.amount_minor,
            postings=tuple(posting for posting in postings if posting.amount_minor),
            payment=command.key,
            means=command.means,
        )
    )


def charge_back(work: Work, command: Chargeback, at: datetime) -> Refused | None:
    """The bank took a payment back. What the balance cannot give is owed: it never falls below zero."""
    payment = work.state.payments.get(command.payment)
    if payment is None:
        return Refused(Reason.UNKNOWN_PAYMENT)
    amount_minor = payment.returnable_minor if command.amount_minor is None else command.amount_minor
    if amount_minor <= 0:
        return Refused(Reason.AMOUNT_NOT_POSITIVE)
    if amount_minor > payment.amount_minor:
        return Refused(Reason.OVER_THE_PAYMENT)
    book = work.state.book
    taken_minor = min(book.balance_minor, amount_minor)
    postings = (
        Posting(Account.CUSTOMER, -taken_minor),
        Posting(Account.RECEIVABLE, taken_minor - amount_minor),
        Posting(Account.GATEWAY, amount_minor),
    )
    return work.post(
        Transfer(
            id=f"chargeback:{command.key}",
            kind=Kind.REVERSAL,
            at=at,
            currency=book.currency,
            amount_minor=-amount_minor,
            postings=tuple(posting for posting in postings if posting.amount_minor),
            parts=(Part(payment.key, amount_minor),),
        )
    )


def refund(work: Work, command: Refund, at: datetime) -> Refused | None:
    """Give unused money back, by the means it was paid with: the latest payment first (R80)."""
    unused_minor = work.balance_minor
    amount_minor = unused_minor if command.amount_minor is None else command.amount_minor
    if command.amount_minor is None and unused_minor == 0:
        return Refused(Reason.NOTHING_TO_REFUND)
    if amount_minor <= 0:
        return Refused(Reason.AMOUNT_NOT_POSITIVE)
    if amount_minor > unused_minor:
        return Refused(Reason.INSUFFICIENT_FUNDS)
    return give_back(work, f"refund:{command.key}", amount_minor, at)


def give_back(work: Work, key: str, amount_minor: int, at: datetime) -> Refused | None:
    """One refund, and which payments it returns."""
    parts: list[Part] = []
    left_minor = amount_minor
    for payment in reversed(work.state.payments.values()):
        part_minor = min(left_minor, payment.returnable_minor)
        if part_minor:
            parts.append(Part(payment.key, part_minor))
            left_minor -= part_minor
    assert left_minor == 0, "more on the balance than was ever paid in"
    return work.post(
        Transfer(
            id=key,
            kind=Kind.REFUND,
            at=at,
            currency=work.state.book.currency,
            amount_minor=-amount_minor,
            postings=(Posting(Account.CUSTOMER, -amount_minor), Posting(Account.REFUNDS, amount_minor)),
            parts=tuple(parts),
        )
    )


def withdraw(work: Work, command: Withdraw, at: datetime) -> Refused | None:
    """Undo the contract: debits are reversed, in full or by the share that was not used yet (D12), what
    is then unused goes back, and the trackers are gone from billing.
    """
    state = work.state
    if state.withdrawn_at is not None:
        return Refused(Reason.CONTRACT_ENDED)
    if state.date_at(at) > last_day(state, command.ground):
        return Refused(Reason.WITHDRAWAL_PERIOD_OVER)
    full = command.ground is Ground.GUARANTEE or state.settings.withdrawal_amount is WithdrawalAmount.FULL
    returned = all_debits(state) if full else unused_debits(state, at)
    for account, amount_minor in returned.items():
        if amount_minor:
            key = f"withdrawal:{state.book.count}:{account}"
            refused = work.post(credit(state, key, amount_minor, account, None, at))
            assert refused is None, f"{key}: {refused}"
            state = work.state
    work.note(Withdrawn(at, command.statement))
    if work.balance_minor:
        return give_back(work, f"withdrawal:refund:{command.key}", work.balance_minor, at)
    return None


def last_day(state: State, ground: Ground) -> date:
    """The last local date on which the contract may be undone, whole (R78, R113)."""
    concluded = state.date_at(state.concluded_at)
    if ground is Ground.WITHDRAWAL:
        return concluded + state.settings.withdrawal_days * ONE_DAY
    return add_months(concluded, state.settings.guarantee_months) - ONE_DAY


def all_debits(state: State) -> dict[Account, int]:
    """What was ever debited, less what was reversed."""
    return {account: state.book.of(account) for account in REVENUE.values()}


def unused_debits(state: State, at: datetime) -> dict[Account, int]:
    """The shares of connection fees and terms that lie after today: today counts as used (R81)."""
    connection_minor = sum(unused_window_minor(state, device, at) for device in state.devices.values())
    term_minor = sum(unused_term_minor(state, device, at) for device in state.devices.values())
    return {
        Account.CONNECTION: connection_minor,
        Account.TERM: min(term_minor, state.book.of(Account.TERM)),
    }


def unused_window_minor(state: State, device: Device, at: datetime) -> int:
    """What of a tracker's connection fee is for dates to come."""
    paid = state.book.ids.find(f"connection:{device.id}:{device.episode}")
    if paid is None or device.window_until is None or device.window_until <= at:
        return 0
    return -paid.amount_minor * window_days_left(state, device.window_until, at) // WINDOW_DAYS


def unused_term_minor(state: State, device: Device, at: datetime) -> int:
    """What of a tracker's term is for dates to come, at today's price: whole months, and of the month
    under way the share of its dates.
    """
    term, today = device.term, state.date_at(at)
    if term is None or term.end <= today:
        return 0
    price_minor = state.price_on(today).monthly_minor
    begun = 0
    while add_months(term.start, begun + 1) <= today:
        begun += 1
    first, end = add_months(term.start, begun), add_months(term.start, begun + 1)
    left = min((end - today).days - 1, (end - first).days)
    return price_minor * (term.months - begun - 1) + price_minor * left // (end - first).days
