"""The sweep: at one instant, each tracker in its turn is paid if the money lasts, and blocked if not.

It skips what cannot be paid and goes on, so that no affordable tracker stays blocked (D3, R34 to R36).
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from msgspec.structs import replace

from tracker_server.billing.book import Account, Kind
from tracker_server.billing.daily import pay_date
from tracker_server.billing.facts import Blocked, Unblocked
from tracker_server.billing.reveal import note_gap
from tracker_server.billing.state import Device, Unlock
from tracker_server.billing.states import BLOCKED, Standing, due_minor, standing
from tracker_server.billing.windows import window_end
from tracker_server.billing.work import Work, debit


def sweep(work: Work, at: datetime) -> None:
    """Pay what is due and can be paid; block what cannot; unblock what owes nothing."""
    for device in work.state.by_turn():
        before = standing(work.state, device, at)
        if before is Standing.SUSPENDED:
            continue
        waits = device.blocked_since is not None and work.state.settings.unlock is Unlock.MANUAL
        if not waits:
            pay(work, device, at)
        settle_block(work, device.id, at)


def settle_block(work: Work, device_id: str, at: datetime) -> None:
    """Note that a tracker is blocked, or no longer."""
    device = work.state.devices[device_id]
    blocked = standing(work.state, device, at) in BLOCKED
    if blocked and device.blocked_since is None:
        work.note(Blocked(at, device_id))
    elif not blocked and device.blocked_since is not None:
        note_gap(work, device, at)
        work.note(Unblocked(at, device_id))


def pay(work: Work, device: Device, at: datetime) -> None:
    """Debit what a tracker owes, where the whole of it can be paid: there is no part payment (R32).

    An overdue term is never paid from the balance unasked: how many months is the customer's choice.
    """
    state = work.state
    amount_minor = due_minor(state, device, at)
    if amount_minor > work.balance_minor:
        return
    now_is = standing(state, device, at)
    match now_is:
        case Standing.OWES_CONNECTION:
            pay_connection(work, device, at, amount_minor)
        case Standing.OWES_TODAY:
            pay_today(work, device, at, amount_minor)
        case (
            Standing.FREE
            | Standing.TEST
            | Standing.TEST_EXPIRED
            | Standing.IN_WINDOW
            | Standing.PAID_TODAY
            | Standing.WAIVED
            | Standing.IN_TERM
            | Standing.OVERDUE
            | Standing.SUSPENDED
        ):
            pass
        case _:
            assert_never(now_is)


def pay_connection(work: Work, device: Device, at: datetime, amount_minor: int) -> None:
    """One month's price, whatever the month; the 31 days begin now (R8, R9)."""
    transfer = debit(
        work.state,
        key=f"connection:{device.id}:{device.episode}",
        kind=Kind.CONNECTION,
        at=at,
        amount_minor=amount_minor,
        revenue=Account.CONNECTION,
        device=device.id,
    )
    monthly_minor = amount_minor if work.state.settings.charge_difference else None
    transfer = replace(
        transfer, window_until=window_end(at, work.state.zone), window_monthly_minor=monthly_minor
    )
    refused = work.post(transfer)
    assert refused is None, f"{transfer.id}: {refused}"


def pay_today(work: Work, device: Device, at: datetime, amount_minor: int) -> None:
    """Today's share; at most one for a tracker and a local date (R25), by its id."""
    pay_date(work, device.id, work.state.date_at(at), at, amount_minor)
