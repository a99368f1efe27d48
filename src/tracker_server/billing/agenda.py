"""What falls due next, and when: a worker may sleep until then and misses nothing."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final, assert_never

from tracker_server.billing.daily import daily_share
from tracker_server.billing.dates import ONE_DAY
from tracker_server.billing.state import Device, State, Unlock
from tracker_server.billing.states import Standing, paid_until, standing, test_last_day
from tracker_server.billing.tariffs import Mode

# How many dates a blocked tracker's fee is looked up ahead. Shares differ between months only, so the next
# month is where a lower one can be; beyond it the look-up starts again.
LOOK_AHEAD_DAYS: Final = 31


def next_due(state: State) -> datetime | None:
    """The next instant, after all that is settled, at which something falls due; None if nothing will."""
    now = state.settled_to
    instants = [instant for device in state.devices.values() for instant in device_instants(state, device)]
    if state.plan is not None:
        instants.append(state.start_of(state.plan.effective))
    return min((instant for instant in instants if instant > now), default=None)


def device_instants(state: State, device: Device) -> list[datetime]:
    """When something may change for one tracker by the passing of time alone."""
    now = state.settled_to
    now_is = standing(state, device, now)
    match now_is:
        case Standing.TEST_EXPIRED:
            return []
        case Standing.FREE:
            # On a paid tariff it is free only as long as the price is 0, which nobody but a hand in the database sets.
            return [] if state.tariff.mode is Mode.FREE else price_instants(state)
        case Standing.OVERDUE:
            return waiver_instants(state)
        case Standing.TEST:
            last = test_last_day(state, device)
            return [] if last is None else [state.start_of(last + ONE_DAY)]
        case Standing.IN_WINDOW | Standing.PAID_TODAY | Standing.IN_TERM:
            end = paid_until(state, device)
            assert end is not None
            return [end]
        case Standing.WAIVED:
            return [next_midnight(state, state.date_at(now))]
        case Standing.OWES_CONNECTION:
            return price_instants(state)
        case Standing.OWES_TODAY:
            if state.settings.unlock is Unlock.MANUAL:
                return waiver_instants(state)
            return [next_payable(state), *waiver_instants(state)]
        case Standing.SUSPENDED:
            assert device.suspension is not None
            return [state.start_of(device.suspension.last + ONE_DAY)]
        case _:
            assert_never(now_is)


def price_instants(state: State) -> list[datetime]:
    """When the tariff's prices begin."""
    return [state.start_of(price.since) for price in state.tariff.prices if price.since > date.min]


def waiver_instants(state: State) -> list[datetime]:
    """The first instants of waived ranges: on a waived date a blocked tracker is shown, overdue ones too."""
    return [state.start_of(waiver.first) for waiver in state.waivers]


def next_midnight(state: State, day: date) -> datetime:
    """The start of the next date."""
    return state.start_of(day + ONE_DAY)


def next_payable(state: State) -> datetime:
    """The start of the next date whose share the balance could pay (R44), or of the last date looked at."""
    today = state.date_at(state.settled_to)
    for ahead in range(1, LOOK_AHEAD_DAYS):
        day = today + ahead * ONE_DAY
        if daily_share(state.price_on(day).monthly_minor, day) <= state.book.balance_minor:
            return state.start_of(day)
    return state.start_of(today + LOOK_AHEAD_DAYS * ONE_DAY)
