"""Mistakes that mature billing systems really made, each as a test of ours. The name says whose."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from tests.billing.moments import ZONES
from tests.billing.stories import STD, Story, tariff
from tracker_server.billing.agenda import next_due
from tracker_server.billing.commands import Sms
from tracker_server.billing.engine import act, settle

TWO_MONTHS = """
    2025-01-01 10:00  topup 1000.00
    2025-01-01 10:00  connect T1
    2025-02-28 12:00  look
"""


@pytest.mark.parametrize("zone", ["Pacific/Apia", "Pacific/Auckland", "Europe/Moscow", "America/Santiago"])
def test_lago_879_double_billing_in_zones_east_of_utc(zone: str) -> None:
    story = Story(TWO_MONTHS, zone=zone)
    days = [entry.transfer.day for entry in story.entries if entry.transfer.day]
    assert len(days) == len(set(days)) == 28


def test_lago_662_the_day_of_creation_is_not_billed_again() -> None:
    story = Story("""
        2025-01-01 00:00  topup 1000.00
        2025-01-01 00:00  connect T1
        2025-01-01 23:59  look  -> entries 2
    """)
    assert story.debits("daily") == []


def test_lago_1988_a_job_that_waited_over_an_hour() -> None:
    story = Story(TWO_MONTHS)
    late = story.when("2025-03-01", "02:30")
    first, _ = settle(story.state, story.when("2025-03-01", "00:00"))
    for again in (first, settle(first, late)[0]):
        assert settle(again, late)[0].book == settle(story.state, late)[0].book


@pytest.mark.parametrize("day", ["2025-03-30", "2025-10-26"])
def test_lago_1438_a_day_of_23_or_25_hours_costs_a_day(day: str) -> None:
    story = Story(zone="Europe/Tallinn", text=f"""
        2025-01-01 10:00  topup 9000.00
        2025-01-01 10:00  connect T1
        {day} 23:59  look
    """)  # fmt: skip
    share = {"2025-03-30": "10.00", "2025-10-26": "10.00"}[day]
    assert story.debits("daily", "T1", day) == [share]


def test_killbill_150_the_hosts_zone_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    books = []
    for host in ("UTC", "Asia/Tokyo"):
        monkeypatch.setenv("TZ", host)
        books.append(Story(TWO_MONTHS).state.book)
    assert books[0] == books[1]


@pytest.mark.parametrize("zone", ZONES)
def test_killbill_445_no_endless_loop_at_a_change_of_clocks(zone: str) -> None:
    story = Story(zone=zone, text="2025-01-01 10:00  topup 9000.00\n2025-01-01 10:00  connect T1")
    state, turns = story.state, 0
    new_year = state.start_of(date(2026, 1, 1))
    while (due := next_due(state)) is not None and due < new_year:
        state, _ = settle(state, due)
        turns += 1
    assert turns == 334  # from Feb 1 on, each date once


def test_killbill_1856_no_period_twice() -> None:
    story = Story(TWO_MONTHS).tell("2025-02-28 12:00 switch Free\n2025-02-28 12:01 switch Std")
    assert [len(story.debits("daily", day=f"2025-02-{day:02}")) for day in range(1, 29)] == [1] * 28


def test_bcapps_5718_the_end_of_february_costs_its_share() -> None:
    story = Story(tariffs=(tariff("Std", "9.00"),), text="""
        2025-01-01 10:00  topup 18.00
        2025-01-01 10:00  connect T1
        2025-02-26 23:59  look  -> balance 0.65
        2025-02-28 23:59  look  -> balance 0.00
    """)  # fmt: skip
    assert story.debits("daily", day="2025-02-27") == ["0.32"]


def test_router_478_a_burst_cannot_overdraw() -> None:
    story = Story("2025-01-01 10:00  topup 12.00")
    state, sent = story.state, 0
    for n in range(50):
        outcome = act(state, Sms(key=str(n)), story.state.settled_to)
        state, sent = outcome.state, sent + (getattr(outcome.answer, "delivery", None) == "sms")
    assert (sent, state.book.balance_minor) == (2, 200)


def test_laravel_credits_20_a_stale_writer_is_seen_by_its_number() -> None:
    """Two writers from one state make entries of one number and one predecessor: a unique key on
    (account, number) lets only one of them in.
    """
    story = Story("2025-01-01 10:00  topup 5.00")
    first, second = (act(story.state, Sms(key=key), story.state.settled_to).facts[0] for key in "ab")
    numbers = [(fact.entry.number, fact.entry.previous) for fact in (first, second)]  # type: ignore[union-attr]
    assert numbers[0] == numbers[1]


def test_ivozprovider_703_prepaid_time_is_not_charged_again() -> None:
    Story(on="Term", text="""
        2025-01-01 10:00  topup 2000.00
        2025-01-01 10:00  connect T1 months=3  -> balance 1070.00
        2025-02-01 10:00  switch Std           -> balance 1070.00, T1 active
        2025-03-31 23:59  look                 -> balance 1070.00, T1 active
        2025-04-01 00:00  look                 -> last daily T1 2025-04-01 -10.33
    """)  # fmt: skip


def test_cgrates_143_no_top_up_vanishes() -> None:
    story = Story("2025-01-01 10:00  connect T1")
    for n in range(20):
        story.tell(f"2025-01-{n + 1:02} 10:00  topup 31.00")
    assert len([entry for entry in story.entries if entry.transfer.kind == "topup"]) == 20
    assert len(story.state.payments) == 20


def test_prefect_7468_the_repeated_hour_runs_once() -> None:
    story = Story(zone="America/Havana", text="""
        2025-09-01 10:00  topup 9000.00
        2025-09-01 10:00  connect T1
        2025-11-01 23:59  look
    """)  # fmt: skip
    midnight = story.when("2025-11-02", "00:00")  # comes twice, an hour apart
    for minutes in (0, 30, 60, 90):
        story.settle(midnight + timedelta(minutes=minutes))
    assert len(story.debits("daily", day="2025-11-02")) == 1


def test_traccar_3700_a_limit_counts_what_is_switched_off_too() -> None:
    Story(tariffs=(STD,), text="""
        2025-01-01 10:00  connect X1 test
        2025-01-01 11:00  suspend X1
        2025-01-01 12:00  connect X2 test  -> refused test_device_exists
    """)  # fmt: skip
