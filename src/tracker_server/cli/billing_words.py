"""Money in sentences: why a command was refused, and what became of a tracker. One sentence for every reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from zoneinfo import ZoneInfo

from tracker_server.billing.book import Kind, Refused, Transfer
from tracker_server.billing.facts import (
    AnyFact,
    Blocked,
    Booked,
    LeftUnpaid,
    PlanEnded,
    Planned,
    Resumed,
    Revealed,
    Suspended,
    Switched,
    Unblocked,
)
from tracker_server.billing.reasons import Reason
from tracker_server.billing.state import Device, State
from tracker_server.billing.states import FACES, due_minor, paid_until, standing
from tracker_server.cli.money_values import written

REFUSALS: Final[dict[Reason, str]] = {
    Reason.ALREADY_CONNECTED: "the tracker is connected already",
    Reason.ALREADY_SETTLED: "the dates are settled already, or end before they begin; only dates to come can be "
    "waived, and money for past ones goes back by `billing refund`",
    Reason.AMOUNT_NOT_POSITIVE: "there is nothing to move; name an amount above zero",
    Reason.BACK_PAY_NOT_OFFERED: 'blocked time is not paid for after the event here; the setting billing.reveal = "back_pay" '
    "offers it",
    Reason.CONTRACT_ENDED: "the contract was withdrawn from; add another account to begin anew",
    Reason.EFFECTIVE_IN_THE_PAST: "the date lies in the past; name today or a later one",
    Reason.ID_REUSED: "the key was used for something else; choose another one",
    Reason.INSUFFICIENT_FUNDS: "the balance does not reach; `billing topup` first, or name less",
    Reason.MONTHS_OUT_OF_RANGE: "a term has 1 to 12 months",
    Reason.NOT_A_TERM_TARIFF: "its tariff is not paid by the month; `billing switch` changes to one that is",
    Reason.NOT_A_TEST_DEVICE: "it is not a test tracker; there is nothing to convert",
    Reason.NOT_SUSPENDED: "it is not paused; there is nothing to resume",
    Reason.NOTHING_TO_REFUND: "the balance is 0; there is nothing to give back",
    Reason.NOTHING_UNPAID: "none of its time is unpaid; there is nothing to pay for",
    Reason.OVER_THE_PAYMENT: "it is more than that payment was; name at most its amount",
    Reason.SUSPENDED: "it is paused already; `billing resume` ends the pause",
    Reason.SUSPENSION_LIMIT: "the pause would go beyond what is left of six months in any twelve, or end in the "
    "past; name a date between",
    Reason.SWITCH_LIMIT: "this month's changes of tariff are used up",
    Reason.TEST_DEVICE: "it is a test tracker, which costs nothing; `billing convert` makes it a paying one",
    Reason.TEST_DEVICE_EXISTS: "the account has a test tracker already; `billing convert` or `device remove` that "
    "one first",
    Reason.TEST_EXPIRED: "its test time is over; `billing convert` makes it a paying one",
    Reason.UNBALANCED: "the amounts do not sum to zero; this is a defect of ours, please report it",
    Reason.UNKNOWN_DEVICE: "billing knows no such tracker in this account; `device list` tells them all",
    Reason.UNKNOWN_PAYMENT: "there was no top-up under that key; `billing ledger` tells them all",
    Reason.UNKNOWN_SMS: "no SMS was paid under that key",
    Reason.UNKNOWN_TARIFF: "there is no such tariff in the account's currency; `tariff list` tells them all",
    Reason.WITHDRAWAL_PERIOD_OVER: "the time in which the contract could be undone is over; `billing refund` still "
    "gives back what is unused",
    Reason.WRONG_ACCOUNT: "such an entry may not touch that side of the book; this is a defect of ours, please "
    "report it",
    Reason.WRONG_CURRENCY: "it is in another currency than the account",
}

ENTRIES: Final[dict[Kind, str]] = {
    Kind.TOPUP: "top-up",
    Kind.CONNECTION: "connection fee",
    Kind.DAILY: "daily fee",
    Kind.TERM: "term",
    Kind.SMS: "SMS",
    Kind.REFUND: "refund",
    Kind.REVERSAL: "reversal",
}

LINES_MAX = 40  # of what one command changed; an account with thousands of trackers has its lists for that


def refusal(refused: Refused, zone: str) -> str:
    """Why, the cure, and from when on it may be asked again, in the account's own time."""
    sentence = f"{REFUSALS[refused.reason]} ({refused.reason})"
    if refused.next_allowed is None:
        return sentence
    return f"{sentence}; next allowed at {local(refused.next_allowed, zone)}"


def local(moment: object, zone: str) -> str:
    """An instant in the account's own time, with its offset."""
    from datetime import datetime

    assert isinstance(moment, datetime)
    return moment.astimezone(ZoneInfo(zone)).isoformat(timespec="seconds")


def standing_words(state: State, device: Device) -> str | None:
    """What money says of a tracker now: blocked and what is due, or paid until when; None where it costs nothing."""
    now = state.settled_to
    face = FACES[standing(state, device, now)]
    if face.state == "suspended":
        return "paused" if device.suspension is None else f"paused through {device.suspension.last}"
    if face.state == "blocked":
        due = due_minor(state, device, now)
        reason = (face.reason or "").replace("_", " ")
        return f"blocked: {written(due, state.book.currency)} due" if due else f"blocked: {reason}"
    until = paid_until(state, device)
    return None if until is None else f"paid until {local(until, state.zone)}"


def changes(facts: Iterable[AnyFact], state: State) -> Iterator[str]:
    """What happened, a line each, as far as a person wants to know."""
    told = 0
    for fact in facts:
        line = _line(fact, state)
        if line is None:
            continue
        if told == LINES_MAX:
            yield "… and more: `tracker-server billing ledger` and `tracker-server device list` tell all"
            return
        told += 1
        yield line


def _line(fact: AnyFact, state: State) -> str | None:  # noqa: PLR0911 - one way out for each kind of fact
    match fact:
        case Booked(entry=entry):
            balance = written(entry.balance_minor, entry.transfer.currency)
            return f"{_entry_words(entry.transfer)}; balance {balance}"
        case Blocked(device=device):
            known = state.devices.get(device)
            words = None if known is None else standing_words(state, known)
            return f"tracker {device!r} is {words or 'blocked'}"
        case Unblocked(device=device):
            return f"tracker {device!r} is shown again"
        case LeftUnpaid(device=device, gap=gap):
            stretch = f"from {local(gap.start, state.zone)} to {local(gap.end, state.zone)}"
            return f"tracker {device!r}: what it sent {stretch} is unpaid and stays hidden"
        case Revealed(device=device):
            return f"tracker {device!r}: its unpaid time is paid for and shown"
        case Suspended(device=device, last=last):
            return f"tracker {device!r} is paused through {last}"
        case Resumed(device=device):
            return f"tracker {device!r} is paused no longer"
        case Switched(tariff=tariff):
            return f"on tariff {tariff!r} since {local(fact.at, state.zone)}"
        case Planned(plan=plan):
            return f"from {plan.effective} on: tariff {plan.tariff!r}"
        case PlanEnded(plan=plan, refused=Refused() as refused):
            return f"the plan for tariff {plan.tariff!r} lapsed: {refusal(refused, state.zone)}"
        case _:
            return None


def _entry_words(transfer: Transfer) -> str:
    of = "" if transfer.device is None else f" of tracker {transfer.device!r}"
    day = "" if transfer.day is None else f" for {transfer.day}"
    return f"{ENTRIES[transfer.kind]}{of}{day}: {written(transfer.amount_minor, transfer.currency)}"
