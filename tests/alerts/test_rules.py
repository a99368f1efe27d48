"""Which messages an event becomes: one line for each way in which a rule narrows what is told."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from tests.alerts.world import MAIL, NOON, Person, Recipient, Rule, event, household
from tracker_server.alerts.rules import (
    KINDS,
    AlertEvent,
    RuleError,
    check,
    kinds_of,
    quiet_of,
    told,
)
from tracker_server.alerts.schedule import quiet_until
from tracker_server.model.event import EventType
from tracker_server.model.schedule import active_at

WORKDAYS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Norte//EN
BEGIN:VEVENT
UID:1
DTSTART:20270201T080000
DTEND:20270201T170000
RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR
END:VEVENT
END:VCALENDAR
"""


def to(rule: Rule, happened: AlertEvent | None = None, **account: Any) -> list[tuple[str, str]]:
    return [
        (one.channel, one.recipient) for one in told(household(rule, **account), happened or event(), NOON)
    ]


@pytest.mark.parametrize(
    ("change", "happened", "tells"),
    [
        ({}, event(), True),
        ({}, event("geofenceExit"), False),
        ({"types": ("allEvents",)}, event("media"), True),
        ({"types": ("alarm",)}, event("alarm", attributes={"alarm": "sos"}), True),
        ({"types": ("alarm",), "alarms": ("sos",)}, event("alarm", attributes={"alarm": "sos"}), True),
        ({"types": ("alarm",), "alarms": ("sos",)}, event("alarm", attributes={"alarm": "tow"}), False),
        ({"fence_ids": (5, 6)}, event(), True),
        ({"fence_ids": (6,)}, event(), False),
        ({"always": False, "device_ids": (3,)}, event(), True),
        ({"always": False, "device_ids": (4,)}, event(), False),
        ({"always": False, "group_ids": (9,)}, event(), True),
        ({"always": False, "group_ids": (8,)}, event(), False),
        ({"calendar": WORKDAYS}, event(), True),
        ({"calendar": WORKDAYS}, event(occurred_at=NOON + timedelta(hours=4, minutes=1)), False),
        ({"calendar": WORKDAYS}, event(occurred_at=NOON - timedelta(days=1)), False),
    ],
)
def test_what_a_rule_speaks_of(change: dict[str, Any], happened: AlertEvent, *, tells: bool) -> None:
    found = to(replace(MAIL, **change), happened, groups={3: frozenset({9, 10})})
    assert found == ([("email", "office@example.com")] if tells else [])


def test_a_rule_that_is_switched_off_tells_nothing() -> None:
    at = household(MAIL)
    off = replace(at, rules=(replace(at.rules[0], enabled=False),))
    assert told(off, event(), NOON) == []


def test_who_is_told() -> None:
    people = {
        1: Person(1, "ana@example.com", "+34600000001", "ru"),
        2: Person(2, "luis@example.com", "", "", frozenset({4})),
    }
    rule = replace(
        MAIL,
        channels=("email", "sms", "web"),
        recipients=(
            Recipient("email", "a@example.com"),
            Recipient("email", "a@example.com"),
            Recipient(user=1),
            Recipient(user=2),
        ),
    )
    found = told(household(rule, people=people), event(), NOON)
    assert [(one.channel, one.recipient, one.language) for one in found] == [
        ("email", "a@example.com", "es"),
        ("email", "ana@example.com", "ru"),
        ("sms", "+34600000001", "ru"),
        ("web", "web", "es"),
    ], "each once; Luis may not see tracker 3"
    assert to(replace(MAIL, channels=("sms",)), phone="+34600111222") == [("sms", "+34600111222")]
    assert to(replace(MAIL, channels=("sms",))) == [("sms", "-")], "nobody to send it to is told to the log"
    assert to(replace(MAIL, channels=("command",), command={"type": "engineStop"})) == [("command", "T3")]


def test_a_rule_tells_its_maker_only_what_he_may_see() -> None:
    seen = {7: Person(7, "u@example.com", device_ids=frozenset({3}))}
    unseen = {7: Person(7, "u@example.com", device_ids=frozenset({4}))}
    assert to(MAIL, user_id=7, people=seen) == [("email", "u@example.com")]
    assert to(MAIL, user_id=7, people=unseen) == []
    assert to(MAIL, user_id=7, people={}) == [], "its maker is gone"


def test_the_page_is_told_at_once_even_in_quiet_time() -> None:
    night = datetime(2027, 2, 15, 23, tzinfo=UTC)
    rule = replace(MAIL, channels=("web",), quiet=quiet_of("22:00-07:00"))
    (one,) = told(household(rule), event(occurred_at=night), night)
    assert (one.channel, one.recipient, one.due_at) == ("web", "web", night)


@pytest.mark.parametrize(
    ("quiet", "at", "until"),
    [
        ("22:00-07:00", "23:30", "07:00+1"),
        ("22:00-07:00", "06:59", "07:00"),
        ("22:00-07:00", "07:00", None),
        ("22:00-07:00", "21:59", None),
        ("22:00-07:00", "22:00", "07:00+1"),
        ("13:00-15:00", "14:00", "15:00"),
        ("13:00-15:00", "15:00", None),
    ],
)
def test_quiet_time_goes_over_midnight(quiet: str, at: str, until: str | None) -> None:
    zone = ZoneInfo("Europe/Madrid")
    day = datetime(2027, 2, 15, tzinfo=zone)
    moment = datetime.combine(day, time.fromisoformat(at), zone)
    found = quiet_until(quiet_of(quiet), zone, moment)
    if until is None:
        assert found is None
    else:
        clock, _, days = until.partition("+")
        wanted = datetime.combine(day + timedelta(days=int(days or 0)), time.fromisoformat(clock), zone)
        assert found == wanted


def test_what_happens_in_quiet_time_is_told_when_it_ends() -> None:
    night = datetime(2027, 2, 15, 23, tzinfo=UTC)
    (one,) = told(household(replace(MAIL, quiet=quiet_of("22:00-07:00"))), event(occurred_at=night), night)
    assert one.due_at == datetime(2027, 2, 16, 6, tzinfo=UTC)


def test_a_calendar_is_read_in_the_accounts_zone_and_over_midnight() -> None:
    night = WORKDAYS.replace("T080000", "T220000").replace("0201T170000", "0202T060000")
    at = datetime(2027, 2, 16, 4, 30, tzinfo=UTC)
    assert active_at(night, "Europe/Madrid", at)
    assert not active_at(night, "Europe/Madrid", at + timedelta(minutes=30))
    assert active_at(WORKDAYS, "America/Santiago", datetime(2027, 2, 15, 19, tzinfo=UTC))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"types": ()}, "type"),
        ({"types": ("geofenceenter",)}, "type"),
        ({"channels": ()}, "channel"),
        ({"channels": ("pigeon",)}, "channel"),
        ({"channels": ("sms",)}, "channel"),
        ({"always": False}, "device"),
        ({"channels": ("command",)}, "command"),
        ({"channels": ("webhook",)}, "to"),
        ({"recipients": (Recipient("sms", "+34600111222"),)}, "to"),
        ({"recipients": (Recipient("email", "nobody"),)}, "to"),
        ({"recipients": (Recipient("email", " a@example.com"),)}, "to"),
        ({"channels": ("webhook",), "recipients": (Recipient("webhook", "ftp://x"),)}, "to"),
        ({"recipients": (Recipient("email", "a@example.com"),) * 51}, "to"),
        ({"throttle_s": -1}, "throttle"),
        ({"quiet": (time(7), time(7))}, "quiet"),
        ({"calendar": "nonsense"}, "calendar"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_by_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(RuleError) as caught:
        check(replace(MAIL, **change), {"email", "command", "webhook"})
    assert caught.value.field == field
    check(MAIL, {"email"})


def test_words_of_kinds() -> None:
    assert kinds_of(["geofenceEnter", "alarm:sos", "alarm:tow"]) == (
        ("geofenceEnter", "alarm"),
        ("sos", "tow"),
    )
    with pytest.raises(RuleError):
        kinds_of(["geofenceEnter:sos"])
    with pytest.raises(RuleError):
        quiet_of("22:00")
    assert set(EventType) < KINDS
