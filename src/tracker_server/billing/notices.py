"""Which notices of money are due (R99, R102, R108, invariant 31): pure, so that a worker only sends them.

A notice covers occasions: each names what it is about, its level and, where it is about one, the tracker;
never the hour at which a worker looked. What was missed while the server was down is therefore still due,
and what was told is never due again, even when the trackers that it was about are no longer all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from tracker_server.billing.agenda import next_due
from tracker_server.billing.dates import ONE_DAY
from tracker_server.billing.engine import settle
from tracker_server.billing.facts import AnyFact, Blocked, Unblocked
from tracker_server.billing.forecast import forecast, min_topup_minor
from tracker_server.billing.state import Device, State
from tracker_server.billing.states import BLOCKED, Standing, due_minor, standing
from tracker_server.billing.tariffs import Mode

BEFORE: Final = (-7, -3, -1)  # days before the money ends
SINCE: Final = (0, 3, 7)  # days since it ended
RESUME_NOTICE_DAYS: Final = 7  # R108
SENT_AT: Final = timedelta(hours=9)  # after the local date begins: nobody is written to at midnight
AGE_MAX: Final = timedelta(days=30)  # a notice that fell due earlier would tell of a world that is gone
DAYS_IN_MONTH_MIN: Final = 28
LOOK_AHEAD: Final = timedelta(days=38)  # how far the end of the money is looked for at once


class NoticeKind(StrEnum):
    """What a notice is about."""

    ENDING = "ending"  # terms will end
    OVERDUE = "overdue"  # terms have ended
    LOW = "low"  # the balance will not last
    BLOCKED = "blocked"  # the balance did not last
    UNBLOCKED = "unblocked"
    RESUMING = "resuming"  # a pause ends by itself
    PURGE = "purge"  # what a blocked tracker recorded will be deleted: told by what deletes it


class Notice(msgspec.Struct, frozen=True):
    """Something to tell the customer: ``level`` is days from ``on``, the date it is about.

    ``devices`` are those concerned, each with its date in ``dates`` where these differ (LOW). ``covers``
    are the occasions that are told by it.
    """

    key: str
    level: int
    falls_at: datetime
    amount_minor: int
    devices: tuple[str, ...]
    kind: NoticeKind
    on: date
    covers: tuple[str, ...]
    dates: tuple[date, ...] = ()


def notices_due(state: State, now: datetime, sent: AbstractSet[str]) -> list[Notice]:
    """The notices that have fallen due and cover something that is not among the occasions told, oldest first.

    While collection is held none falls due, and those of that time do not come later either (R102).
    """
    found = [
        *term_notices(state, now, sent),
        *balance_notices(state, now, sent),
        *resume_notices(state, sent),
    ]
    earliest = max(_held_until(state, now), now - AGE_MAX)
    due = [notice for notice in found if earliest <= notice.falls_at <= now]
    return sorted(due, key=lambda notice: (notice.falls_at, notice.key))


def told_and_skipped(due: Sequence[Notice], armed_at: datetime | None) -> tuple[list[Notice], list[Notice]]:
    """Of the notices due, those to tell, and those whose moment was over before their cause came about.

    ``armed_at``: what makes them due may have happened then, and not earlier; None where time alone did. A
    customer who pays one month of three is told once what is still due, not at each level that is past.
    """
    if armed_at is None:
        return list(due), []
    late = [notice for notice in due if notice.falls_at < armed_at]
    last = {(_occasion(notice)): notice for notice in sorted(late, key=lambda notice: notice.level)}
    skipped = [notice for notice in late if last[_occasion(notice)] is not notice]
    return [notice for notice in due if notice not in skipped], skipped


def _occasion(notice: Notice) -> tuple[str, tuple[str, ...]]:
    of_money = notice.kind in {NoticeKind.ENDING, NoticeKind.OVERDUE}
    return ("term" if of_money else notice.kind.value, notice.devices)


def next_look(state: State, now: datetime) -> datetime | None:
    """When a notice may fall due next by time alone; None if none will."""
    found = [*term_notices(state, now, frozenset(), ahead=True), *resume_notices(state, frozenset())]
    instants = [notice.falls_at for notice in found]
    if state.tariff.mode is Mode.BALANCE:
        instants += [notice.falls_at for notice in blocked_notices(state, now, frozenset())]
        instants.append(_next_low(state, now))
    held = _held_until(state, now)
    return min((instant for instant in instants if instant > now and instant >= held), default=None)


def unblocked_notice(state: State, facts: Iterable[AnyFact], now: datetime) -> Notice | None:
    """The notice of those that became visible again by these facts, and are in ``state``, which follows.

    What a customer does is answered at once; what happens as a date begins is told in the morning.
    """
    facts = list(facts)
    since = {fact.device: fact.at for fact in facts if isinstance(fact, Unblocked)}
    begun = {fact.device: fact.at for fact in facts if isinstance(fact, Blocked)}
    shown = [
        device
        for device in state.by_turn()
        if device.id in since
        and begun.get(device.id) != since[device.id]  # added and paid at one instant: it was never hidden
        and device.blocked_since is None
        and device.suspension is None
        and not device.test
    ]
    if not shown:
        return None
    at = max(since[device.id] for device in shown)
    if at < _held_until(state, now):
        return None
    day = state.date_at(at)
    falls_at = at + SENT_AT if at == state.start_of(day) else at
    names = tuple(device.id for device in shown)
    covers = tuple(f"unblocked:{since[name].isoformat()}:{name}" for name in names)
    return Notice(
        _key("unblocked", at.isoformat(), 0, covers), 0, falls_at, 0, names, NoticeKind.UNBLOCKED, day, covers
    )


def _held_until(state: State, now: datetime) -> datetime:
    hold = state.collection_hold
    return now - AGE_MAX if hold is None else state.start_of(hold)


def _key(kind: str, on: object, level: int, covers: tuple[str, ...]) -> str:
    digest = hashlib.blake2s("\n".join(covers).encode(), digest_size=8).hexdigest()
    return f"{kind}:{on}:{level}:{digest}"


# ---------------------------------------------------------------------- terms


def term_notices(
    state: State, now: datetime, sent: AbstractSet[str], *, ahead: bool = False
) -> Iterator[Notice]:
    """Terms that end: one notice for all trackers whose terms end on the same date. A tracker for which no
    term was ever paid counts from the date on which it was blocked.
    """
    if state.tariff.mode is not Mode.TERM:
        return
    ending: dict[date, list[Device]] = {}
    for device in state.by_turn():
        end = _term_end(state, device, now)
        if end is not None:
            ending.setdefault(end, []).append(device)
    for end, devices in ending.items():
        over = state.date_at(now) >= end
        month_minor = state.price_on(max(end, state.date_at(now))).monthly_minor
        for level in (*BEFORE, *(SINCE if over or ahead else ())):
            cover = {device.id: f"term:{end}:{level}:{device.id}" for device in devices}
            untold = [device for device in devices if cover[device.id] not in sent]
            if not untold or (level < 0 and over and all(device.term is None for device in untold)):
                continue
            covers = tuple(cover[device.id] for device in untold)
            yield Notice(
                _key("term", end, level, covers),
                level,
                state.start_of(end + level * ONE_DAY) + SENT_AT,
                sum(due_minor(state, device, now) or month_minor for device in untold),
                tuple(device.id for device in untold),
                NoticeKind.OVERDUE if over else NoticeKind.ENDING,
                end,
                covers,
            )


def _term_end(state: State, device: Device, now: datetime) -> date | None:
    match standing(state, device, now):
        case Standing.IN_TERM | Standing.OVERDUE if device.term is not None:
            return device.term.end
        case Standing.OVERDUE if device.blocked_since is not None:
            return state.date_at(device.blocked_since)
        case _:
            return None


# ---------------------------------------------------------------------- balances


def balance_notices(state: State, now: datetime, sent: AbstractSet[str]) -> Iterator[Notice]:
    """A balance that will not last, and trackers that are blocked since some date."""
    if state.tariff.mode is Mode.BALANCE:
        yield from blocked_notices(state, now, sent)
        yield from low_notices(state, now, sent)


def blocked_notices(state: State, now: datetime, sent: AbstractSet[str]) -> Iterator[Notice]:
    """One for all trackers that are blocked since the same date."""
    blocked: dict[date, list[str]] = {}
    for device in state.by_turn():
        if device.blocked_since is not None and standing(state, device, now) in BLOCKED and not device.test:
            blocked.setdefault(state.date_at(device.blocked_since), []).append(device.id)
    for since, names in blocked.items():
        for level in SINCE:
            cover = {name: f"blocked:{since}:{level}:{name}" for name in names}
            untold = tuple(name for name in names if cover[name] not in sent)
            if untold:
                covers = tuple(cover[name] for name in untold)
                yield Notice(
                    _key("blocked", since, level, covers),
                    level,
                    state.start_of(since + level * ONE_DAY) + SENT_AT,
                    min_topup_minor(state, now),
                    untold,
                    NoticeKind.BLOCKED,
                    since,
                    covers,
                )


def low_notices(state: State, now: datetime, sent: AbstractSet[str]) -> Iterator[Notice]:
    """The days before the first tracker will be blocked. Only a top-up arms them again: a date that
    moves by itself does not.
    """
    covers = {level: f"low:{len(state.payments)}:{level}" for level in BEFORE}
    if set(covers.values()) <= sent or days_covered(state, now) > 1 - min(BEFORE):
        return
    horizon = now - min(BEFORE) * ONE_DAY + ONE_DAY
    dates = {
        outlook.device: outlook.blocked_on
        for outlook in forecast(state, horizon).outlooks
        if outlook.blocked_on is not None
        and state.devices[outlook.device].blocked_since is None
        and not state.devices[outlook.device].test
    }
    if not dates:
        return
    first = min(dates.values())
    paying = [device for device in state.by_turn() if not device.test and device.suspension is None]
    month_minor = state.price_on(first).monthly_minor * len(paying)
    amount_minor = max(0, month_minor - state.book.balance_minor)
    for level, cover in covers.items():
        if cover not in sent:
            falls_at = state.start_of(first + level * ONE_DAY) + SENT_AT
            yield Notice(
                cover,
                level,
                falls_at,
                amount_minor,
                tuple(dates),
                NoticeKind.LOW,
                first,
                (cover,),
                tuple(dates.values()),
            )


def days_covered(state: State, now: datetime) -> int:
    """Days that the balance surely pays for all trackers, at the dearest price to come; no more than LOOK_AHEAD.

    A bound that costs nothing: days are looked through one by one only where the money may soon end.
    """
    paying = [device for device in state.devices.values() if not device.test]
    if not paying or state.plan is not None:
        return 0
    until = state.date_at(now + LOOK_AHEAD)
    coming = [
        price.monthly_minor for price in state.tariff.prices if state.date_at(now) < price.since <= until
    ]
    month_minor = max([state.price_on(state.date_at(now)).monthly_minor, *coming])
    fees_minor = month_minor * sum(not device.entered for device in paying)
    day_minor = -(-month_minor // DAYS_IN_MONTH_MIN) * len(paying)
    left_minor = max(0, state.book.balance_minor - fees_minor)
    return min(left_minor // day_minor if day_minor else LOOK_AHEAD.days, LOOK_AHEAD.days)


def _next_low(state: State, now: datetime) -> datetime:
    """When to look at the balance again: as the next level is reached, or before the end of what was looked at."""
    covered = days_covered(state, now)
    if covered > 1 - min(BEFORE):
        return now + (covered + min(BEFORE)) * ONE_DAY
    ahead, until = state, now + LOOK_AHEAD
    while (due := next_due(ahead)) is not None and due <= until:
        ahead, facts = settle(ahead, due)
        for fact in facts:
            if (
                isinstance(fact, Blocked)
                and state.devices[fact.device].blocked_since is None
                and not state.devices[fact.device].test
            ):
                first = state.date_at(fact.at)
                levels = [state.start_of(first + level * ONE_DAY) + SENT_AT for level in (*BEFORE, 0)]
                return min((instant for instant in levels if instant > now), default=until)
    return until + min(BEFORE) * ONE_DAY


# ---------------------------------------------------------------------- pauses


def resume_notices(state: State, sent: AbstractSet[str]) -> Iterator[Notice]:
    """Pauses that end by themselves."""
    for device in state.by_turn():
        if device.suspension is None:
            continue
        ends = device.suspension.last + ONE_DAY
        key = f"resume:{device.id}:{ends}"
        if key not in sent:
            falls_at = state.start_of(ends - RESUME_NOTICE_DAYS * ONE_DAY) + SENT_AT
            yield Notice(
                key, -RESUME_NOTICE_DAYS, falls_at, 0, (device.id,), NoticeKind.RESUMING, ends, (key,)
            )
