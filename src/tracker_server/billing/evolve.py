"""How each fact changes the state. The only place that does: rebuilding an account is folding its journal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

from msgspec.structs import replace

from tracker_server.billing.book import Entry, Kind, Known, Posted, post
from tracker_server.billing.dates import ONE_DAY, start_of_month
from tracker_server.billing.facts import (
    Accepted,
    AnyFact,
    Blocked,
    Booked,
    CollectionHeld,
    Connected,
    Converted,
    LeftUnpaid,
    PlanEnded,
    Planned,
    Priced,
    Removed,
    Reprioritised,
    Resumed,
    Revealed,
    SmsCounted,
    Suspended,
    Switched,
    Unblocked,
    Waived,
    Withdrawn,
    ZoneChanged,
)
from tracker_server.billing.state import (
    Device,
    Pause,
    Payment,
    SmsCount,
    State,
    Suspension,
    TariffSince,
    Term,
    Waiver,
)
from tracker_server.billing.tariffs import Mode


def rebuild(opening: State, journal: Iterable[AnyFact]) -> State:
    """The state that a journal leads to."""
    state = opening
    for fact in journal:
        state = evolve(state, fact)
    return state


def evolve(state: State, fact: AnyFact) -> State:  # noqa: PLR0911 - one way out for each kind of fact
    """The state after a fact."""
    state = replace(state, settled_to=max(state.settled_to, fact.at))
    match fact:
        case Connected() | Converted() | Removed() | Reprioritised():
            return with_trackers(state, fact)
        case Blocked() | Unblocked() | LeftUnpaid() | Revealed() | Suspended() | Resumed():
            return with_device(state, standing_changed(state, state.devices[fact.device], fact))
        case Switched():
            return switched(state, fact.at, fact.tariff)
        case Planned():
            return replace(state, plan=fact.plan)
        case PlanEnded():
            return replace(state, plan=None)
        case Priced():
            tariff = state.tariffs[fact.tariff].with_price(fact.price)
            return replace(state, tariffs={**state.tariffs, fact.tariff: tariff})
        case ZoneChanged():
            return replace(state, zone=fact.zone)
        case Waived():
            return replace(state, waivers=(*state.waivers, Waiver(fact.first, fact.last)))
        case CollectionHeld():
            return replace(state, collection_hold=fact.until)
        case Withdrawn():
            return replace(state, withdrawn_at=fact.at, devices={}, plan=None)
        case SmsCounted():
            return counted(state, fact)
        case Accepted():
            return replace(state, requests=state.requests.with_id(fact.id, Known(fact.digest)))
        case Booked():
            return booked(state, fact.entry)
        case _:
            assert_never(fact)


def counted(state: State, fact: SmsCounted) -> State:
    """One SMS more in its month, or one less."""
    month = start_of_month(state.date_at(fact.at))
    return replace(state, sms_count=SmsCount(month, max(0, state.sms_in(month) + fact.count)))


def with_device(state: State, device: Device) -> State:
    """The state with one tracker replaced or added."""
    return replace(state, devices={**state.devices, device.id: device})


def with_trackers(state: State, fact: Connected | Converted | Removed | Reprioritised) -> State:
    """Trackers come, go, and change their turn."""
    match fact:
        case Connected():
            episode = state.episodes + 1
            device = Device(fact.device, fact.priority, fact.at, episode, test=fact.test)
            return with_device(replace(state, episodes=episode), device)
        case Converted():
            episode = state.episodes + 1
            device = replace(state.devices[fact.device], test=False, episode=episode, blocked_since=None)
            return with_device(replace(state, episodes=episode), device)
        case Removed():
            return replace(state, devices={k: v for k, v in state.devices.items() if k != fact.device})
        case Reprioritised():
            return with_device(state, replace(state.devices[fact.device], priority=fact.priority))
        case _:
            assert_never(fact)


def standing_changed(
    state: State, device: Device, fact: Blocked | Unblocked | LeftUnpaid | Revealed | Suspended | Resumed
) -> Device:
    """A tracker is blocked or suspended, or no longer; unpaid time stays behind, or is paid for."""
    match fact:
        case Blocked():
            return replace(device, blocked_since=fact.at)
        case Unblocked():
            return replace(device, blocked_since=None)
        case LeftUnpaid():
            return replace(device, gaps=(*device.gaps, fact.gap))
        case Revealed():
            return replace(device, gaps=())
        case Suspended():
            return replace(device, suspension=Suspension(fact.at, state.date_at(fact.at), fact.last))
        case Resumed():
            return resumed(state, device, fact.at)
        case _:
            assert_never(fact)


def resumed(state: State, device: Device, at: datetime) -> Device:
    """The pause is over: what was prepaid when it began goes on from here (R107). A term is moved by
    dates, a 31-day window by the time that passed.
    """
    pause = device.suspension
    assert pause is not None
    window, term = device.window_until, device.term
    if window is not None and window > pause.since:
        window += at - pause.since
    days = max(0, (state.date_at(at) - pause.first).days)
    if term is not None and days:
        term = Term(term.end + days * ONE_DAY, 0)
    pauses = (*device.pauses, Pause(pause.first, pause.first + days * ONE_DAY))
    return replace(device, window_until=window, term=term, suspension=None, pauses=pauses)


def switched(state: State, at: datetime, name: str) -> State:
    """Another tariff. From free to paid every tracker begins a new episode (R4, R16); to free, what was
    left of the 31 days is gone (R15); to a term tariff, the first term begins where the dates paid so
    far end.
    """
    before, after = state.tariff.mode, state.tariffs[name].mode
    state = replace(state, history=(*state.history, TariffSince(at, name)), switches=(*state.switches, at))
    if before is after:
        return state
    devices: dict[str, Device] = {}
    for device in state.by_turn():
        changed = device
        if after is Mode.FREE:
            changed = replace(device, window_until=None)
        elif before is Mode.FREE and not device.test:
            state = replace(state, episodes=state.episodes + 1)
            # A term that still runs is paid for; nothing else is kept.
            kept = after is Mode.TERM and device.term is not None and device.term.end > state.date_at(at)
            changed = replace(device, episode=state.episodes, entered=kept)
        elif after is Mode.TERM and device.entered:
            changed = replace(device, term=first_term(state, device, at))
        devices[device.id] = changed
    return replace(state, devices=devices)


def first_term(state: State, device: Device, at: datetime) -> Term:
    """The term, of no months yet, that begins where a tracker's paid dates end."""
    start = state.date_at(at)
    if device.paid_on is not None:
        start = max(start, device.paid_on + ONE_DAY)
    if device.window_until is not None:
        start = max(start, state.date_at(device.window_until))
    if device.term is not None and device.term.end >= start:
        return device.term
    return Term(start, 0)


def booked(state: State, entry: Entry) -> State:
    """Money moved: the book has one entry more, and what it pays for is paid."""
    transfer = entry.transfer
    posted = post(state.book, transfer)
    assert isinstance(posted, Posted), f"{transfer.id}: {posted}"
    assert posted.entry == entry, f"{transfer.id} is not the entry that was written"
    state = replace(state, book=posted.book)
    if transfer.device is not None and transfer.device in state.devices:
        state = with_device(state, paid(state.devices[transfer.device], entry))
    if transfer.kind is Kind.TOPUP:
        assert transfer.payment is not None
        payment = Payment(transfer.payment, transfer.means or "", transfer.amount_minor)
        state = replace(state, payments={**state.payments, payment.key: payment})
    if transfer.parts:
        payments = dict(state.payments)
        for part in transfer.parts:
            old = payments[part.payment]
            payments[old.key] = replace(old, returned_minor=old.returned_minor + part.amount_minor)
        state = replace(state, payments=payments)
    return state


def paid(device: Device, entry: Entry) -> Device:
    """A tracker whose fee was paid."""
    transfer = entry.transfer
    match transfer.kind:
        case Kind.CONNECTION:
            return replace(
                device,
                entered=True,
                window_until=transfer.window_until,
                window_monthly_minor=transfer.window_monthly_minor,
            )
        case Kind.DAILY:
            assert transfer.day is not None
            return replace(device, paid_on=max(transfer.day, device.paid_on or transfer.day))
        case Kind.TERM:
            assert transfer.term_from is not None
            assert transfer.term_months is not None
            return replace(device, entered=True, term=Term(transfer.term_from, transfer.term_months))
        case Kind.TOPUP | Kind.SMS | Kind.REFUND | Kind.REVERSAL:
            return device
        case _:
            assert_never(transfer.kind)
