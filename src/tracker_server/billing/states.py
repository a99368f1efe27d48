"""Where a tracker stands: its billing states as tables, and the one function that reads a state off.

Two tables: what each standing means (``FACES``) and which standing may follow which, and why
(``MOVES``). The diagram in the documentation is printed from the second, and the tests hold every
simulated history to it.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Final, assert_never

import msgspec

from tracker_server.billing.daily import daily_share
from tracker_server.billing.dates import ONE_DAY, add_months
from tracker_server.billing.state import Device, State, Term
from tracker_server.billing.tariffs import Mode


class Standing(StrEnum):
    """All that billing can say of a tracker."""

    FREE = "free"
    TEST = "test"
    TEST_EXPIRED = "test_expired"
    IN_WINDOW = "in_window"
    PAID_TODAY = "paid_today"
    WAIVED = "waived"
    IN_TERM = "in_term"
    OWES_CONNECTION = "owes_connection"
    OWES_TODAY = "owes_today"
    OVERDUE = "overdue"
    SUSPENDED = "suspended"


class Face(msgspec.Struct, frozen=True):
    """What the world sees of a standing."""

    state: str
    reason: str | None


_ACTIVE: Final = Face("active", None)
_SHORT: Final = Face("blocked", "insufficient_funds")

FACES: Final[dict[Standing, Face]] = {
    Standing.FREE: _ACTIVE,
    Standing.TEST: _ACTIVE,
    Standing.TEST_EXPIRED: Face("blocked", "test_expired"),
    Standing.IN_WINDOW: _ACTIVE,
    Standing.PAID_TODAY: _ACTIVE,
    Standing.WAIVED: _ACTIVE,
    Standing.IN_TERM: _ACTIVE,
    Standing.OWES_CONNECTION: _SHORT,
    Standing.OWES_TODAY: _SHORT,
    Standing.OVERDUE: Face("blocked", "overdue"),
    Standing.SUSPENDED: Face("suspended", "suspended"),
}

BLOCKED: Final = frozenset(standing for standing, face in FACES.items() if face.state == "blocked")

_PAYING: Final = (Standing.IN_WINDOW, Standing.PAID_TODAY, Standing.WAIVED, Standing.IN_TERM)
_OWING: Final = (Standing.OWES_CONNECTION, Standing.OWES_TODAY, Standing.OVERDUE)


def _moves() -> dict[tuple[Standing, Standing], str]:
    one = Standing
    moves: dict[tuple[Standing, Standing], str] = {
        (one.OWES_CONNECTION, one.IN_WINDOW): "connection fee paid",
        (one.OWES_CONNECTION, one.OVERDUE): "term tariff",
        (one.OVERDUE, one.OWES_CONNECTION): "balance tariff, no term was ever paid",
        (one.OVERDUE, one.OWES_TODAY): "balance tariff",
        (one.OVERDUE, one.PAID_TODAY): "balance tariff, day paid",
        (one.OVERDUE, one.IN_WINDOW): "balance tariff, connection fee paid",
        (one.OVERDUE, one.IN_TERM): "term paid",
        (one.OVERDUE, one.WAIVED): "day waived",
        (one.OWES_CONNECTION, one.IN_TERM): "term paid",
        (one.OWES_TODAY, one.PAID_TODAY): "day paid",
        (one.OWES_TODAY, one.WAIVED): "day waived",
        (one.OWES_TODAY, one.OVERDUE): "term tariff",
        (one.IN_WINDOW, one.PAID_TODAY): "31 days over, day paid",
        (one.IN_WINDOW, one.OWES_TODAY): "31 days over, money short",
        (one.IN_WINDOW, one.WAIVED): "31 days over, day waived",
        (one.IN_WINDOW, one.IN_TERM): "term goes on after the 31 days",
        (one.IN_WINDOW, one.OVERDUE): "31 days over, term tariff",
        (one.PAID_TODAY, one.OWES_TODAY): "new date, money short",
        (one.PAID_TODAY, one.WAIVED): "new date, waived",
        (one.PAID_TODAY, one.IN_TERM): "term tariff",
        (one.PAID_TODAY, one.OVERDUE): "new date, term tariff",
        (one.WAIVED, one.PAID_TODAY): "new date, day paid",
        (one.WAIVED, one.OWES_TODAY): "new date, money short",
        (one.WAIVED, one.OVERDUE): "new date, term tariff",
        (one.WAIVED, one.IN_TERM): "term paid",
        (one.IN_TERM, one.PAID_TODAY): "term over, balance tariff, day paid",
        (one.IN_TERM, one.OWES_TODAY): "term over, balance tariff, money short",
        (one.IN_TERM, one.WAIVED): "term over, day waived",
        (one.IN_TERM, one.OVERDUE): "term over",
        (one.TEST, one.TEST_EXPIRED): "test time over",
        (one.TEST_EXPIRED, one.TEST): "zone changed, yesterday again",
    }
    for test in (one.TEST, one.TEST_EXPIRED):
        moves |= {
            (test, one.IN_WINDOW): "converted, connection fee paid",
            (test, one.OWES_CONNECTION): "converted, money short",
            (test, one.OVERDUE): "converted, no term yet",
            (test, one.FREE): "converted",
        }
    for standing in (*_PAYING, *_OWING):
        moves[standing, one.FREE] = "free tariff"
    moves |= {
        (one.FREE, one.IN_WINDOW): "paid tariff, connection fee paid",
        (one.FREE, one.OWES_CONNECTION): "paid tariff, money short",
        (one.FREE, one.OVERDUE): "term tariff, no term yet",
        (one.FREE, one.IN_TERM): "term tariff, the term still runs",
        (one.FREE, one.PAID_TODAY): "term tariff, today was paid before",
    }
    for standing in Standing:
        if standing is not one.SUSPENDED:
            moves[standing, one.SUSPENDED] = "paused"
            moves[one.SUSPENDED, standing] = "pause over"
    return moves


MOVES: Final = _moves()


def standing(state: State, device: Device, at: datetime) -> Standing:
    """Where a tracker stands at an instant, by what is paid (invariant 12: active if and only if paid)."""
    if device.suspension is not None:
        return Standing.SUSPENDED
    if device.test:
        return Standing.TEST_EXPIRED if test_over(state, device, at) else Standing.TEST
    mode = state.tariff.mode
    if mode is Mode.FREE:
        return Standing.FREE
    today = state.date_at(at)
    price_minor = state.price_on(today).monthly_minor
    if mode is Mode.BALANCE and not device.entered:
        return Standing.OWES_CONNECTION if price_minor else Standing.FREE
    if device.window_until is not None and at < device.window_until:
        return Standing.IN_WINDOW
    if device.paid_on is not None and device.paid_on >= today:
        return Standing.PAID_TODAY
    if device.term is not None and device.term.end > today:
        return Standing.IN_TERM
    if device.entered and state.waived(today):
        return Standing.WAIVED
    if mode is Mode.TERM:
        return Standing.OVERDUE if price_minor else Standing.FREE
    # A price so small that a date's share is no whole minor unit: nothing to pay, so nothing to block for.
    nothing = daily_share(price_minor, today) == 0
    return Standing.WAIVED if nothing else Standing.OWES_TODAY


def test_last_day(state: State, device: Device) -> date | None:
    """The last date on which a test tracker is shown, where the operator limits it (R87)."""
    days = state.settings.test_days_max
    return None if days is None else state.date_at(device.connected_at) + (days - 1) * ONE_DAY


def test_over(state: State, device: Device, at: datetime) -> bool:
    """Whether a test tracker's time is over."""
    last = test_last_day(state, device)
    return last is not None and state.date_at(at) > last


def due_minor(state: State, device: Device, at: datetime) -> int:
    """What has to be paid for a tracker to be shown now, in minor units; 0 where nothing is due."""
    today = state.date_at(at)
    price_minor = state.price_on(today).monthly_minor
    now_is = standing(state, device, at)
    match now_is:
        case Standing.OWES_CONNECTION:
            return price_minor
        case Standing.OWES_TODAY:
            return daily_share(price_minor, today)
        case Standing.OVERDUE:
            return price_minor * months_due(device, today)
        case (
            Standing.FREE
            | Standing.TEST
            | Standing.TEST_EXPIRED
            | Standing.IN_WINDOW
            | Standing.PAID_TODAY
            | Standing.WAIVED
            | Standing.IN_TERM
            | Standing.SUSPENDED
        ):
            return 0
        case _:
            assert_never(now_is)


def next_term(device: Device, today: date) -> Term:
    """The term that the next months are added to: they begin where the last ended, the gap included
    (R91, D6), and today where there was none, or tomorrow where today is paid already.
    """
    if device.term is not None and device.entered:
        return device.term
    paid_through = today if device.paid_on is None else max(today, device.paid_on + ONE_DAY)
    return Term(paid_through, 0)


def months_due(device: Device, today: date) -> int:
    """The fewest months that reach beyond today."""
    term = next_term(device, today)
    months = 1
    while add_months(term.start, term.months + months) <= today:
        months += 1
    return months


def paid_until(state: State, device: Device) -> datetime | None:
    """The instant at which what is paid for a tracker ends or ended; None where nothing limits it, or
    nothing was ever paid.
    """
    if device.test or state.tariff.mode is Mode.FREE:
        return None
    if state.tariff.mode is Mode.BALANCE and not device.entered:
        return None
    ends = [device.window_until] if device.window_until is not None else []
    if device.paid_on is not None:
        ends.append(state.start_of(device.paid_on + ONE_DAY))
    if device.term is not None:
        ends.append(state.start_of(device.term.end))
    return max(ends, default=None)


def diagram() -> str:
    """The table of moves as a Mermaid state diagram. Pauses, which any state allows, are left to a note."""
    lines = ["stateDiagram-v2"]
    lines += [
        f"    [*] --> {first}: added" for first in ("free", "test", "in_window", "owes_connection", "overdue")
    ]
    lines += [
        f"    {before} --> {after}: {why}"
        for (before, after), why in MOVES.items()
        if Standing.SUSPENDED not in (before, after)
    ]
    lines += ["    note right of suspended: any state may be paused, and goes on by what is paid"]
    return "\n".join(lines) + "\n"
