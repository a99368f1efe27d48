"""Terms paid in advance (R88 to R94) and pauses (R106 to R109)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from msgspec.structs import replace

from tracker_server.billing.book import Account, Kind, Refused
from tracker_server.billing.commands import PayTerm, Resume, Suspend
from tracker_server.billing.dates import MONTHS_PER_YEAR, ONE_DAY, add_months
from tracker_server.billing.facts import Resumed, Suspended
from tracker_server.billing.reasons import Reason
from tracker_server.billing.state import Device, State
from tracker_server.billing.states import next_term
from tracker_server.billing.tariffs import Mode
from tracker_server.billing.work import Work, debit

TERM_MONTHS_MAX: Final = 12  # R88
TERM_PRESETS: Final = {"monthly": 1, "bimonthly": 2, "quarterly": 3, "half-yearly": 6, "yearly": 12}  # R89


def pay_term(work: Work, command: PayTerm, at: datetime) -> Refused | None:
    """Pay months in advance, for one tracker or for all of the account at once."""
    state = work.state
    if command.device is None:
        devices = [device.id for device in state.by_turn() if not device.test]
    else:
        devices = [command.device]
    if not devices or any(device not in state.devices for device in devices):
        return Refused(Reason.UNKNOWN_DEVICE)
    if any(state.devices[device].test for device in devices):
        return Refused(Reason.TEST_DEVICE)
    return pay_months(work, devices, command.months, at)


def pay_months(work: Work, devices: Sequence[str], months: int, at: datetime) -> Refused | None:
    """Debit months for each tracker: for all of them, or refused."""
    if work.state.withdrawn_at is not None:
        return Refused(Reason.CONTRACT_ENDED)
    if work.state.tariff.mode is not Mode.TERM:
        return Refused(Reason.NOT_A_TERM_TARIFF)
    if not 1 <= months <= TERM_MONTHS_MAX:
        return Refused(Reason.MONTHS_OUT_OF_RANGE)
    today = work.state.date_at(at)
    amount_minor = work.state.price_on(today).monthly_minor * months
    for name in devices:
        device = work.state.devices[name]
        term = next_term(device, today)
        transfer = debit(
            work.state,
            key=f"term:{device.id}:{device.episode}:{term.end}",
            kind=Kind.TERM,
            at=at,
            amount_minor=amount_minor,
            revenue=Account.TERM,
            device=device.id,
        )
        total = term.months + months
        if refused := work.post(replace(transfer, term_from=term.start, term_months=total)):
            return refused
    return None


def suspend(work: Work, command: Suspend, at: datetime) -> Refused | None:
    """Pause one tracker, or all that are not paused yet, within the limit."""
    chosen = chosen_devices(work.state, command.device, suspended=False)
    if isinstance(chosen, Refused):
        return chosen
    today = work.state.date_at(at)
    for device in chosen:
        limit = last_allowed(work.state, device, today)
        last = command.last or limit
        if last > limit or last < today:
            return Refused(Reason.SUSPENSION_LIMIT)
        work.note(Suspended(at, device.id, last))
    return None


def resume(work: Work, command: Resume, at: datetime) -> Refused | None:
    """End the pause of one tracker, or of all that are paused; what is due then is paid or blocks."""
    chosen = chosen_devices(work.state, command.device, suspended=True)
    if isinstance(chosen, Refused):
        return chosen
    for device in chosen:
        work.note(Resumed(at, device.id))
    return None


def chosen_devices(state: State, name: str | None, *, suspended: bool) -> list[Device] | Refused:
    """The named tracker, or all, that are suspended, or that are not."""
    wrong = Refused(Reason.NOT_SUSPENDED if suspended else Reason.SUSPENDED)
    if name is None:
        found = [device for device in state.by_turn() if (device.suspension is not None) is suspended]
        return found or wrong
    device = state.devices.get(name)
    if device is None:
        return Refused(Reason.UNKNOWN_DEVICE)
    return [device] if (device.suspension is not None) is suspended else wrong


def last_allowed(state: State, device: Device, today: date) -> date:
    """The last date that a pause which begins today may reach: six months, less what was used in the
    twelve before (R109). Used time is counted in whole months and the days beyond them.
    """
    months_used, days_used = 0, 0
    window = add_months(today, -MONTHS_PER_YEAR)
    for pause in device.pauses:
        first, end = max(pause.first, window), min(pause.end, today)
        if first >= end:
            continue
        months = 0
        while add_months(first, months + 1) <= end:
            months += 1
        months_used += months
        days_used += (end - add_months(first, months)).days
    months_left = state.settings.suspension_months_max - months_used
    return add_months(today, months_left) - days_used * ONE_DAY
