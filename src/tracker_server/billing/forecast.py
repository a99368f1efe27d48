"""Looking ahead without touching anything: how long the money lasts, and what would unlock all (R58, R134)."""

from __future__ import annotations

from datetime import date, datetime

import msgspec

from tracker_server.billing.agenda import next_due
from tracker_server.billing.engine import settle
from tracker_server.billing.facts import Blocked
from tracker_server.billing.state import State
from tracker_server.billing.states import BLOCKED, due_minor, standing


class Outlook(msgspec.Struct, frozen=True):
    """One tracker's future if nobody does anything: when and on which local date it is blocked first."""

    device: str
    blocked_at: datetime | None
    blocked_on: date | None


class Forecast(msgspec.Struct, frozen=True):
    """What an account may expect up to an instant, with the balance that is left then."""

    outlooks: tuple[Outlook, ...]
    balance_minor: int


def forecast(state: State, until: datetime) -> Forecast:
    """Let time pass up to ``until`` and see who is blocked when; trackers that are blocked already are
    reported with the instant since when they are.
    """
    first = {device.id: device.blocked_since for device in state.devices.values()}
    ahead = state
    while (due := next_due(ahead)) is not None and due <= until:
        ahead, facts = settle(ahead, due)
        for fact in facts:
            if isinstance(fact, Blocked) and first[fact.device] is None:
                first[fact.device] = fact.at
    outlooks = tuple(
        Outlook(device.id, at, None if at is None else ahead.date_at(at))
        for device in state.by_turn()
        for at in (first[device.id],)
    )
    return Forecast(outlooks, ahead.book.balance_minor)


def min_topup_minor(state: State, at: datetime) -> int:
    """The smallest top-up after which nothing is blocked for money: what is due, and what is owed from a
    chargeback, less the balance (R58).
    """
    blocked = [device for device in state.devices.values() if standing(state, device, at) in BLOCKED]
    due = sum(due_minor(state, device, at) for device in blocked)
    if due == 0:
        return 0
    return max(0, due - state.book.balance_minor) + state.book.receivable_minor
