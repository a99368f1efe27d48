"""Switches of tariff (R59 to R65), prices, and the features that a tariff brings (R63 to R66)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace

from tracker_server.billing.book import Account, Kind, Refused
from tracker_server.billing.commands import SetPrice, Switch
from tracker_server.billing.dates import ONE_DAY, add_months, start_of_month
from tracker_server.billing.facts import PlanEnded, Planned, Priced, Switched
from tracker_server.billing.reasons import Reason
from tracker_server.billing.state import Plan, State
from tracker_server.billing.tariffs import Mode
from tracker_server.billing.windows import WINDOW_DAYS
from tracker_server.billing.work import Work, debit

# Between a downgrade and the deletion of what it hides: the date is announced to the customer (R66).
DOWNGRADE_GRACE: Final = timedelta(days=30)


def switch(work: Work, command: Switch, at: datetime) -> Refused | None:
    """Go to another tariff now, or plan to. To ask for the tariff that is in force counts for nothing
    (R62).
    """
    state = work.state
    if state.withdrawn_at is not None:
        return Refused(Reason.CONTRACT_ENDED)
    if command.tariff not in state.tariffs:
        return Refused(Reason.UNKNOWN_TARIFF)
    today = state.date_at(at)
    effective = command.effective or today
    if effective < today:
        return Refused(Reason.EFFECTIVE_IN_THE_PAST)
    if effective > today:
        if start_of_month(effective) == start_of_month(today) and (refused := limit_reached(state, at)):
            return refused
        work.note(Planned(at, Plan(command.tariff, effective, command.key)))
        return None
    if command.tariff == state.tariff.name:
        return None
    return limit_reached(state, at) or go_to(work, command.tariff, at)


def go_to(work: Work, tariff: str, at: datetime) -> Refused | None:
    """The switch itself. It costs nothing (R59), unless the operator charges the difference within the 31 days (D11): then
    for all trackers, or it is refused.
    """
    owed = differences(work.state, tariff, at) if work.state.settings.charge_difference else {}
    if sum(owed.values()) > work.balance_minor:
        return Refused(Reason.INSUFFICIENT_FUNDS)
    for name, amount_minor in owed.items():
        state = work.state
        device = state.devices[name]
        transfer = debit(
            state,
            key=f"difference:{name}:{device.episode}:{len(state.switches)}",
            kind=Kind.CONNECTION,
            at=at,
            amount_minor=amount_minor,
            revenue=Account.CONNECTION,
            device=name,
        )
        monthly_minor = state.tariffs[tariff].price_on(state.date_at(at)).monthly_minor
        transfer = replace(transfer, window_until=device.window_until, window_monthly_minor=monthly_minor)
        refused = work.post(transfer)
        assert refused is None, f"{transfer.id}: {refused}"
    work.note(Switched(at, tariff))
    return None


def differences(state: State, tariff: str, at: datetime) -> dict[str, int]:
    """What a dearer tariff asks for the dates after today that lie in each tracker's 31 days, in minor units. What those
    days were paid at is asked once; a cheaper tariff returns nothing.
    """
    today = state.date_at(at)
    after = state.tariffs[tariff]
    if state.tariff.mode is not Mode.BALANCE or after.mode is not Mode.BALANCE:
        return {}
    owed: dict[str, int] = {}
    for device in state.by_turn():
        if device.test or device.suspension is not None or device.window_until is None:
            continue
        paid_minor = device.window_monthly_minor or state.price_on(today).monthly_minor
        more_minor = after.price_on(today).monthly_minor - paid_minor
        amount_minor = more_minor * window_days_left(state, device.window_until, at) // WINDOW_DAYS
        if amount_minor > 0:
            owed[device.id] = amount_minor
    return owed


def keep_plan(work: Work, at: datetime) -> None:
    """The planned date has come: switch before that date's debits. A plan that the month's limit no
    longer allows, or whose difference the balance does not pay, lapses.
    """
    plan = work.state.plan
    if plan is None or work.state.date_at(at) < plan.effective:
        return
    refused = None
    if plan.tariff != work.state.tariff.name:
        refused = limit_reached(work.state, at) or go_to(work, plan.tariff, at)
    work.note(PlanEnded(at, plan, refused))


def window_days_left(state: State, window_until: datetime, at: datetime) -> int:
    """Whole dates of a tracker's 31 days that are to come: today counts as used."""
    days = (state.date_at(window_until) - state.date_at(at)).days - 1
    return min(max(days, 0), WINDOW_DAYS)


def limit_reached(state: State, at: datetime) -> Refused | None:
    """Refused when the local calendar month has its switches (R60, R61)."""
    month = start_of_month(state.date_at(at))
    used = sum(start_of_month(state.date_at(switched_at)) == month for switched_at in state.switches)
    if used < state.settings.switches_per_month_max:
        return None
    return Refused(Reason.SWITCH_LIMIT, state.start_of(add_months(month, 1)))


def set_price(work: Work, command: SetPrice, at: datetime) -> Refused | None:
    """A new price, from a date that has not begun yet: what is written keeps its price (R7)."""
    tariff = work.state.tariffs.get(command.tariff)
    if tariff is None:
        return Refused(Reason.UNKNOWN_TARIFF)
    if command.price.since <= work.state.date_at(at):
        return Refused(Reason.EFFECTIVE_IN_THE_PAST)
    paid = tariff.mode is not Mode.FREE
    if paid != (command.price.monthly_minor > 0):
        return Refused(Reason.AMOUNT_NOT_POSITIVE)
    work.note(Priced(at, command.tariff, command.price))
    return None


class Span(msgspec.Struct, frozen=True):
    """A stretch of time: from an instant, to another or without end."""

    start: datetime
    end: datetime | None


def feature_spans(state: State, feature: str) -> list[Span]:
    """When what was received has a feature (R64); nothing at all while the tariff in force lacks it
    (invariant 26).
    """
    if feature not in state.tariff.features:
        return []
    ends: list[datetime | None] = [since.at for since in state.history[1:]]
    spans: list[Span] = []
    for since, end in zip(state.history, [*ends, None], strict=True):
        if feature not in state.tariffs[since.tariff].features:
            continue
        if spans and spans[-1].end == since.at:
            spans[-1] = Span(spans[-1].start, end)
        else:
            spans.append(Span(since.at, end))
    return spans


def has_feature(state: State, feature: str, received_at: datetime) -> bool:
    """Whether a fix that was received at an instant has a feature now: what counts is when it was
    received, not when it was made (R63).
    """
    return any(
        span.start <= received_at and (span.end is None or received_at < span.end)
        for span in feature_spans(state, feature)
    )


class History(msgspec.Struct, frozen=True):
    """How far back the customer sees, and from which date on older rows may be deleted (R66)."""

    shown_from: date | None
    kept_from: date | None


def history_limits(state: State, at: datetime) -> History:
    """A downgrade hides at once and deletes only after its grace: until then an upgrade shows all again."""
    today = state.date_at(at)
    kept: list[int | None] = [state.tariff.history_days]
    for since, after in zip(state.history, state.history[1:], strict=False):
        if at - after.at < DOWNGRADE_GRACE:
            kept.append(state.tariffs[since.tariff].history_days)
    longest = None if None in kept else max(days for days in kept if days is not None)
    shown = state.tariff.history_days
    return History(
        shown_from=None if shown is None else today - shown * ONE_DAY,
        kept_from=None if longest is None else today - longest * ONE_DAY,
    )
