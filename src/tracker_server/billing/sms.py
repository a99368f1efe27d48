"""The money of an SMS, and what an alert becomes without it (R67 to R75)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tracker_server.billing.book import Account, Kind, Refused
from tracker_server.billing.commands import Delivery, Purpose, Sms, SmsFailed
from tracker_server.billing.daily import daily_share
from tracker_server.billing.dates import ONE_DAY, start_of_month
from tracker_server.billing.facts import SmsCounted
from tracker_server.billing.reasons import Reason
from tracker_server.billing.state import SmsUnit, State
from tracker_server.billing.states import BLOCKED, Standing, standing
from tracker_server.billing.tariffs import Mode
from tracker_server.billing.work import Work, credit, debit

# 3GPP TS 23.038: the default alphabet, and the characters that take an escape before them.
GSM_ALPHABET: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION: Final = frozenset("\f^{}\\[~]|€")
# What fits in one message, and in each part of a longer one (3GPP TS 23.040: six octets go to its header).
SEPTETS_ALONE, SEPTETS_EACH = 160, 153
UNITS_ALONE, UNITS_EACH = 70, 67

_CHARGED_DAILY: Final = frozenset(
    {Standing.IN_WINDOW, Standing.PAID_TODAY, Standing.WAIVED, Standing.IN_TERM}
)


def segments(text: str) -> int:
    """How many messages a text takes: 7-bit where the alphabet allows, else UCS-2 (R73)."""
    if all(sign in GSM_ALPHABET or sign in GSM_EXTENSION for sign in text):
        sizes, alone, each = [2 if sign in GSM_EXTENSION else 1 for sign in text], SEPTETS_ALONE, SEPTETS_EACH
    else:
        sizes, alone, each = [len(sign.encode("utf-16-be")) // 2 for sign in text], UNITS_ALONE, UNITS_EACH
    if sum(sizes) <= alone:
        return 1
    count, room = 1, each
    for size in sizes:  # neither an escaped character nor a surrogate pair is cut in two
        if size > room:
            count, room = count + 1, each
        room -= size
    return count


def price_minor(state: State, text: str | None, at: datetime) -> int | None:
    """What an SMS costs; None where the tariff offers none. A free tariff charges nothing, and so offers
    none (R6).
    """
    each_minor = state.price_on(state.date_at(at)).sms_minor
    if each_minor is None or state.tariff.mode is Mode.FREE:
        return None
    return each_minor * (segments(text or "") if state.settings.sms_unit is SmsUnit.SEGMENT else 1)


def reserve_minor(state: State, at: datetime) -> int:
    """The daily fees of the next dates, which an SMS may not eat where the operator says so (R74)."""
    total_minor = 0
    for ahead in range(1, state.settings.reserve_days + 1):
        day = state.date_at(at) + ahead * ONE_DAY
        for device in state.devices.values():
            next_start = state.start_of(day + ONE_DAY)
            covered = device.window_until is not None and device.window_until >= next_start
            covered = covered or (device.term is not None and device.term.end > day) or state.waived(day)
            if standing(state, device, at) in _CHARGED_DAILY and not covered:
                total_minor += daily_share(state.price_on(day).monthly_minor, day)
    return total_minor


def send(work: Work, command: Sms, at: datetime) -> Delivery | Refused:
    """Debit an SMS and say so, or say what the alert becomes instead: nothing is dropped in silence."""
    state = work.state
    device = state.devices.get(command.device) if command.device is not None else None
    if command.device is not None and device is None:
        return Refused(Reason.UNKNOWN_DEVICE)
    if command.purpose is Purpose.SYSTEM:
        return Delivery.SMS
    if device is not None and standing(state, device, at) in BLOCKED | {Standing.SUSPENDED}:
        return Delivery.SUPPRESSED
    amount_minor = price_minor(state, command.text, at)
    if amount_minor is None or used_up(state, at):
        return fallback(has_email=command.has_email)
    if amount_minor == 0:
        count(work, at)
        return Delivery.SMS
    reserve = reserve_minor(state, at) if state.tariff.mode is Mode.BALANCE else 0
    if state.book.balance_minor - amount_minor < reserve:
        return fallback(has_email=command.has_email)
    transfer = debit(
        state,
        key=f"sms:{command.key}",
        kind=Kind.SMS,
        at=at,
        amount_minor=amount_minor,
        revenue=Account.SMS,
        device=command.device,
    )
    if refused := work.post(transfer):
        return refused
    count(work, at)
    return Delivery.SMS


def used_up(state: State, at: datetime) -> bool:
    """Whether the month's SMS of a tariff that limits them are sent."""
    limit = state.tariff.sms_max
    return limit is not None and state.sms_in(start_of_month(state.date_at(at))) >= limit


def count(work: Work, at: datetime, number: int = 1) -> None:
    """Count an SMS where the tariff limits them."""
    if work.state.tariff.sms_max is not None:
        work.note(SmsCounted(at, number))


def fallback(*, has_email: bool) -> Delivery:
    """What an alert becomes when no SMS can go."""
    return Delivery.EMAIL if has_email else Delivery.IN_APP


def failed(work: Work, command: SmsFailed, at: datetime) -> Delivery | Refused:
    """The provider failed: the debit is reversed, once, and the alert goes by e-mail (R71)."""
    known = work.state.book.ids.find(f"sms:{command.alert}")
    if known is None:
        return Refused(Reason.UNKNOWN_SMS)
    key = f"reversal:sms:{command.alert}"
    if work.state.book.ids.find(key) is None:
        refused = work.post(credit(work.state, key, -known.amount_minor, Account.SMS, command.device, at))
        assert refused is None, f"{key}: {refused}"
        count(work, at, -1)
    return fallback(has_email=command.has_email)
