"""What is shown of the time for which nobody paid (D5): all of it, only dates that are paid, or what is paid for after the event.

A stretch that was blocked is noted as the block is lifted, where the operator's choice is not to show it all. A term
that is paid late reaches back over its gap (R91) and leaves none. A pause is no block.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from tracker_server.billing.book import Refused
from tracker_server.billing.commands import BackPay
from tracker_server.billing.daily import daily_id, daily_share, pay_date
from tracker_server.billing.dates import ONE_DAY
from tracker_server.billing.facts import LeftUnpaid, Revealed
from tracker_server.billing.reasons import Reason
from tracker_server.billing.state import Device, Gap, Reveal, State
from tracker_server.billing.states import Standing, standing
from tracker_server.billing.tariffs import Mode, Tariff
from tracker_server.billing.work import Work

_INSTANT = timedelta(microseconds=1)


def note_gap(work: Work, device: Device, at: datetime) -> None:
    """Note what stays unpaid as a block is lifted: from its beginning to where what is paid begins."""
    if work.state.settings.reveal is Reveal.ALL or device.blocked_since is None:
        return
    until = paid_from(work.state, device, at)
    if device.blocked_since < until:
        work.note(LeftUnpaid(at, device.id, Gap(device.blocked_since, until)))


def paid_from(state: State, device: Device, at: datetime) -> datetime:
    """The instant from which a tracker that is unlocked now is paid: its date's first where that date is, its term's where
    it has one, else now.
    """
    match standing(state, device, at):
        case Standing.PAID_TODAY | Standing.WAIVED:
            return state.start_of(state.date_at(at))
        case Standing.IN_TERM:
            assert device.term is not None
            return min(at, state.start_of(device.term.start))
        case _:
            return at


def unpaid_dates(state: State, gap: Gap) -> Iterator[date]:
    """The local dates of a gap: the first, though it begins within, and all to its end."""
    day, last = state.date_at(gap.start), state.date_at(gap.end - _INSTANT)
    while day <= last:
        yield day
        day += ONE_DAY


def tariff_on(state: State, day: date) -> Tariff:
    """The tariff that was in force as a date began, or the account's first."""
    start = state.start_of(day)
    return state.tariffs[
        next((one.tariff for one in reversed(state.history) if one.at <= start), state.history[0].tariff)
    ]


def gap_shares(state: State, device: Device, gap: Gap) -> dict[date, int]:
    """What each unpaid date of a gap costs, in minor units: its share by the tariff of that date. Dates that were free,
    waived or paid cost nothing and are left out.
    """
    found: dict[date, int] = {}
    for day in unpaid_dates(state, gap):
        tariff = tariff_on(state, day)
        paid = state.waived(day) or state.book.ids.find(daily_id(device.id, day)) is not None
        amount_minor = daily_share(tariff.price_on(day).monthly_minor, day)
        if tariff.mode is not Mode.FREE and amount_minor and not paid:
            found[day] = amount_minor
    return found


def back_pay(work: Work, command: BackPay, at: datetime) -> Refused | None:
    """Pay each unpaid date's share, all of them or none; its history is shown from then on."""
    state = work.state
    device = state.devices.get(command.device)
    if device is None:
        return Refused(Reason.UNKNOWN_DEVICE)
    if state.settings.reveal is not Reveal.BACK_PAY:
        return Refused(Reason.BACK_PAY_NOT_OFFERED)
    if not device.gaps:
        return Refused(Reason.NOTHING_UNPAID)
    owed: dict[date, int] = {}
    for gap in device.gaps:
        owed |= gap_shares(state, device, gap)  # of a date that two gaps share, once
    if sum(owed.values()) > work.balance_minor:
        return Refused(Reason.INSUFFICIENT_FUNDS)
    for day, amount_minor in owed.items():
        pay_date(work, device.id, day, at, amount_minor)
    work.note(Revealed(at, device.id))
    return None
