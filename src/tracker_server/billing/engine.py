"""The engine: settle what fell due, then act.

``act(state, command, now)`` first posts all that fell due up to ``now``, in the order in which it fell
due, and only then carries out the command (D8): the ledger depends on what was asked and when, never on
when or how often a worker ran. ``settle(state, now)`` is the worker's whole job, and ``next_due(state)``
(see ``agenda``) says when it has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, assert_never

from msgspec.structs import replace

from tracker_server.billing import refunds, reveal, sms, switches, terms, trackers
from tracker_server.billing.agenda import next_due
from tracker_server.billing.book import Refused, digest_of
from tracker_server.billing.commands import (
    Activate,
    AlreadyDone,
    AnyCommand,
    BackPay,
    ChangeZone,
    Chargeback,
    Connect,
    Convert,
    Delivery,
    Done,
    HoldCollection,
    Outcome,
    PayTerm,
    Refund,
    Remove,
    Reprioritise,
    Resume,
    SetPrice,
    Sms,
    SmsFailed,
    Suspend,
    Switch,
    TopUp,
    Waive,
    Withdraw,
)
from tracker_server.billing.dates import ONE_DAY
from tracker_server.billing.facts import Accepted, AnyFact, CollectionHeld, Resumed, Waived, ZoneChanged
from tracker_server.billing.reasons import Reason
from tracker_server.billing.snapshot import request_id
from tracker_server.billing.state import State
from tracker_server.billing.sweep import sweep
from tracker_server.billing.work import Work

# Commands that move money under a name given from outside: without a key they could not be repeated safely.
NEEDS_KEY: Final = (TopUp, Chargeback, Refund, Withdraw, Sms)


def settle(state: State, now: datetime) -> tuple[State, tuple[AnyFact, ...]]:
    """Post all that fell due up to an instant, that instant included.

    A clock that went back settles nothing twice: what is settled stays so (R140).
    """
    work = Work(state)
    settle_work(work, now.astimezone(UTC))
    return work.state, tuple(work.facts)


def settle_work(work: Work, now: datetime) -> None:
    """Step from one due instant to the next."""
    while (due := next_due(work.state)) is not None and due <= now:
        step(work, due)
        assert work.state.settled_to >= due, "time must pass"
    work.state = replace(work.state, settled_to=max(work.state.settled_to, now))


def step(work: Work, at: datetime) -> None:
    """One instant: first what changes the prices, then who goes on, then the debits."""
    work.state = replace(work.state, settled_to=at)
    switches.keep_plan(work, at)
    for device in work.state.by_turn():
        if device.suspension is not None and device.suspension.last + ONE_DAY <= work.state.date_at(at):
            work.note(Resumed(at, device.id))
    sweep(work, at)


def act(state: State, command: AnyCommand, now: datetime, then: Sequence[AnyCommand] = ()) -> Outcome:
    """Settle, then carry a command out, at ``now`` or at the last settled instant if that is later.

    ``then``: commands without keys that go with it and come before anybody else's turn; what of them is refused is
    left out.
    """
    assert command.key or not isinstance(command, NEEDS_KEY), f"{command} needs a key"
    request = request_id(command)
    digest = digest_of(command)
    known = state.requests.find(request) if command.key else None
    if isinstance(command, Waive) and known is None:
        waiver = waive(state, command)
        if isinstance(waiver, Refused):
            return Outcome(*settle(state, now), waiver)
        work, settled, facts = waiver, waiver.state, ()
        settle_work(work, now.astimezone(UTC))
    else:
        settled, facts = settle(state, now)
        if known is not None:
            answer = AlreadyDone() if known.digest == digest else Refused(Reason.ID_REUSED)
            return Outcome(settled, facts, answer)
        work = Work(settled)
    at = work.state.settled_to
    carried = carry_out(work, command, at)
    if isinstance(carried, Refused):
        # Nothing of it remains, its key included: it may be asked again (invariant 18).
        return Outcome(settled, facts, carried)
    if command.key:
        work.note(Accepted(at, request, digest))
    for one in then:
        carry_out(work, one, at)
    sweep(work, at)
    return Outcome(work.state, (*facts, *work.facts), Done(carried))


def carry_out(  # noqa: PLR0911 - one way out for each kind of command
    work: Work, command: AnyCommand, at: datetime
) -> Delivery | Refused | None:
    """The one command, by its kind."""
    match command:
        case Connect() | Convert() | Remove() | Reprioritise() | Activate() | BackPay():
            return of_trackers(work, command, at)
        case TopUp():
            return refunds.top_up(work, command, at)
        case Chargeback():
            return refunds.charge_back(work, command, at)
        case Refund():
            return refunds.refund(work, command, at)
        case Withdraw():
            return refunds.withdraw(work, command, at)
        case Switch():
            return switches.switch(work, command, at)
        case SetPrice():
            return switches.set_price(work, command, at)
        case Suspend() | Resume() | PayTerm():
            return of_time(work, command, at)
        case Sms():
            return sms.send(work, command, at)
        case SmsFailed():
            return sms.failed(work, command, at)
        case ChangeZone():
            return change_zone(work, command, at)
        case HoldCollection():
            return work.note(CollectionHeld(at, command.until))
        case Waive():
            return None  # noted before anything was settled
        case _:
            assert_never(command)


def of_trackers(
    work: Work, command: Connect | Convert | Remove | Reprioritise | Activate | BackPay, at: datetime
) -> Refused | None:
    """Commands about one tracker."""
    match command:
        case Connect():
            return trackers.connect(work, command, at)
        case Convert():
            return trackers.convert(work, command, at)
        case Remove():
            return trackers.remove(work, command, at)
        case Reprioritise():
            return trackers.reprioritise(work, command, at)
        case Activate():
            return trackers.activate(work, command, at)
        case BackPay():
            return reveal.back_pay(work, command, at)
        case _:
            assert_never(command)


def of_time(work: Work, command: Suspend | Resume | PayTerm, at: datetime) -> Refused | None:
    """Commands about prepaid time."""
    match command:
        case Suspend():
            return terms.suspend(work, command, at)
        case Resume():
            return terms.resume(work, command, at)
        case PayTerm():
            return terms.pay_term(work, command, at)
        case _:
            assert_never(command)


def change_zone(work: Work, command: ChangeZone, at: datetime) -> None:
    """Billing dates follow another zone from now on. A date that was paid is not charged again: a
    tracker that is paid for a later date than the new zone's today stays paid through it (D9).
    """
    if command.zone != work.state.zone:
        work.note(ZoneChanged(at, command.zone))


def waive(state: State, command: Waive) -> Work | Refused:
    """Take dates that are not settled yet out of the daily fee, before anything is settled."""
    if command.first <= state.date_at(state.settled_to) or command.last < command.first:
        return Refused(Reason.ALREADY_SETTLED)
    work = Work(state)
    work.note(Waived(state.settled_to, command.first, command.last))
    return work
