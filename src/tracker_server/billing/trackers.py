"""Trackers come, go, and change their turn (R8 to R20, R50 to R53, R83 to R87)."""

from __future__ import annotations

from datetime import datetime

from tracker_server.billing.book import Refused
from tracker_server.billing.commands import Activate, Connect, Convert, Remove, Reprioritise
from tracker_server.billing.facts import Connected, Converted, Removed, Reprioritised
from tracker_server.billing.reasons import Reason
from tracker_server.billing.reveal import note_gap
from tracker_server.billing.states import BLOCKED, Standing, due_minor, standing
from tracker_server.billing.sweep import pay, settle_block
from tracker_server.billing.tariffs import Mode
from tracker_server.billing.terms import pay_months
from tracker_server.billing.work import Work

TEST_DEVICES_MAX = 1  # R85


def connect(work: Work, command: Connect, at: datetime) -> Refused | None:
    """Add a tracker. That its fee cannot be paid is no reason to refuse: it is then stored and blocked
    (R19); a first term that was chosen with it is paid or the whole is refused.
    """
    state = work.state
    if state.withdrawn_at is not None:
        return Refused(Reason.CONTRACT_ENDED)
    if command.device in state.devices:
        return Refused(Reason.ALREADY_CONNECTED)
    if command.test and sum(device.test for device in state.devices.values()) >= TEST_DEVICES_MAX:
        return Refused(Reason.TEST_DEVICE_EXISTS)
    if command.months is not None and (state.tariff.mode is not Mode.TERM or command.test):
        return Refused(Reason.NOT_A_TERM_TARIFF)
    work.note(Connected(at, command.device, command.priority, command.test))
    if command.months is None:
        return None
    return pay_months(work, [command.device], command.months, at)


def convert(work: Work, command: Convert, at: datetime) -> Refused | None:
    """The test is over: from here on the tracker is charged like any other (R84)."""
    device = work.state.devices.get(command.device)
    if device is None:
        return Refused(Reason.UNKNOWN_DEVICE)
    if not device.test:
        return Refused(Reason.NOT_A_TEST_DEVICE)
    note_gap(work, device, at)
    work.note(Converted(at, device.id))
    return None


def remove(work: Work, command: Remove, at: datetime) -> Refused | None:
    """Delete a tracker. Nothing comes back (R13, R28)."""
    if command.device not in work.state.devices:
        return Refused(Reason.UNKNOWN_DEVICE)
    work.note(Removed(at, command.device))
    return None


def reprioritise(work: Work, command: Reprioritise, at: datetime) -> Refused | None:
    """Change a tracker's turn, from the next debit on."""
    if command.device not in work.state.devices:
        return Refused(Reason.UNKNOWN_DEVICE)
    work.note(Reprioritised(at, command.device, command.priority))
    return None


def activate(work: Work, command: Activate, at: datetime) -> Refused | None:
    """Pay what a blocked tracker owes now: the connection fee where that was never paid (R53), else
    today's share (R50). Asked again for one that is shown, it does nothing (R52).
    """
    device = work.state.devices.get(command.device)
    if device is None:
        return Refused(Reason.UNKNOWN_DEVICE)
    found = standing(work.state, device, at)
    if found is Standing.SUSPENDED:
        return Refused(Reason.SUSPENDED)
    if found is Standing.TEST_EXPIRED:
        return Refused(Reason.TEST_EXPIRED)
    if found is Standing.OVERDUE and due_minor(work.state, device, at) <= work.balance_minor:
        months_minor = work.state.price_on(work.state.date_at(at)).monthly_minor
        return pay_months(work, [device.id], due_minor(work.state, device, at) // months_minor, at)
    if found not in BLOCKED:
        return None
    pay(work, device, at)
    settle_block(work, device.id, at)
    if standing(work.state, work.state.devices[device.id], at) in BLOCKED:
        return Refused(Reason.INSUFFICIENT_FUNDS)
    return None
