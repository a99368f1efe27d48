"""Which notices of money are due (R99, R102, R108, invariant 31): pure, so that a worker only sends them.

A notice has a key that names its occasion and its level, never the hour at which a worker looked. What
was missed while the server was down is therefore still due, and what was sent is never due again.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from typing import Final

import msgspec

from tracker_server.billing.dates import ONE_DAY
from tracker_server.billing.forecast import forecast, min_topup_minor
from tracker_server.billing.state import Device, State
from tracker_server.billing.states import BLOCKED, Standing, due_minor, standing
from tracker_server.billing.tariffs import Mode

BEFORE: Final = (-7, -3, -1)  # days before the money ends
SINCE: Final = (0, 3, 7)  # days since it ended
RESUME_NOTICE_DAYS: Final = 7  # R108
SENT_AT: Final = timedelta(hours=9)  # after the local date begins: nobody is written to at midnight


class Notice(msgspec.Struct, frozen=True):
    """Something to tell the customer: ``level`` is days from the end of what is paid."""

    key: str
    level: int
    falls_at: datetime
    amount_minor: int
    devices: tuple[str, ...]


def notices_due(state: State, now: datetime, sent: AbstractSet[str]) -> list[Notice]:
    """The notices that have fallen due and are not among the keys that were sent, oldest first.

    While collection is held none falls due, and those of that time do not come later either (R102).
    """
    found = [*term_notices(state, now), *balance_notices(state, now), *resume_notices(state)]
    hold = state.collection_hold
    held_until = None if hold is None else state.start_of(hold)
    due = [
        notice
        for notice in found
        if notice.falls_at <= now
        and notice.key not in sent
        and (held_until is None or notice.falls_at >= held_until)
    ]
    return sorted(due, key=lambda notice: (notice.falls_at, notice.key))


def term_notices(state: State, now: datetime) -> Iterable[Notice]:
    """Terms that end: one notice for all trackers whose terms end on the same date."""
    if state.tariff.mode is not Mode.TERM:
        return
    ending: dict[date, list[Device]] = {}
    for device in state.by_turn():
        if device.term is not None and standing(state, device, now) in {Standing.IN_TERM, Standing.OVERDUE}:
            ending.setdefault(device.term.end, []).append(device)
    for end, devices in ending.items():
        over = state.date_at(now) >= end
        month_minor = state.price_on(max(end, state.date_at(now))).monthly_minor
        amount_minor = sum(due_minor(state, device, now) or month_minor for device in devices)
        names = tuple(device.id for device in devices)
        for level in (*BEFORE, *(SINCE if over else ())):
            falls_at = state.start_of(end + level * ONE_DAY) + SENT_AT
            yield Notice(f"term:{end}:{level}:{','.join(names)}", level, falls_at, amount_minor, names)


def balance_notices(state: State, now: datetime) -> Iterable[Notice]:
    """A balance that will not last, and trackers that are blocked since some date."""
    if state.tariff.mode is not Mode.BALANCE:
        return
    blocked: dict[date, list[str]] = {}
    for device in state.by_turn():
        if device.blocked_since is not None and standing(state, device, now) in BLOCKED and not device.test:
            blocked.setdefault(state.date_at(device.blocked_since), []).append(device.id)
    for since, names in blocked.items():
        for level in SINCE:
            falls_at = state.start_of(since + level * ONE_DAY) + SENT_AT
            key = f"blocked:{since}:{level}:{','.join(names)}"
            yield Notice(key, level, falls_at, min_topup_minor(state, now), tuple(names))
    yield from low_notices(state, now)


def low_notices(state: State, now: datetime) -> Iterable[Notice]:
    """The days before the first tracker will be blocked. Only a top-up arms them again: a date that
    moves by itself does not.
    """
    horizon = now - min(BEFORE) * ONE_DAY + ONE_DAY
    dates = [
        outlook.blocked_on
        for outlook in forecast(state, horizon).outlooks
        if outlook.blocked_on is not None and state.devices[outlook.device].blocked_since is None
    ]
    if not dates:
        return
    first = min(dates)
    paying = [device for device in state.by_turn() if not device.test and device.suspension is None]
    month_minor = state.price_on(first).monthly_minor * len(paying)
    amount_minor = max(0, month_minor - state.book.balance_minor)
    for level in BEFORE:
        falls_at = state.start_of(first + level * ONE_DAY) + SENT_AT
        names = tuple(device.id for device in paying)
        yield Notice(f"low:{len(state.payments)}:{level}", level, falls_at, amount_minor, names)


def resume_notices(state: State) -> Iterable[Notice]:
    """Pauses that end by themselves."""
    for device in state.by_turn():
        if device.suspension is None:
            continue
        ends = device.suspension.last + ONE_DAY
        falls_at = state.start_of(ends - RESUME_NOTICE_DAYS * ONE_DAY) + SENT_AT
        yield Notice(f"resume:{device.id}:{ends}", -RESUME_NOTICE_DAYS, falls_at, 0, (device.id,))
