"""What is charged at all, the connection fee and its 31 days, the daily fee: rules R1 to R31."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.billing.stories import FREE, STD, Story, tariff
from tracker_server.billing.book import TOUCHES, Account, Kind, Posting, Refused, Transfer, post
from tracker_server.billing.daily import daily_share
from tracker_server.billing.engine import settle
from tracker_server.billing.reasons import Reason
from tracker_server.billing.windows import window_end


def test_r1_only_trackers_are_charged() -> None:
    Story("""
        2025-01-01 10:00  look  -> balance 0.00, entries 0
        2026-01-01 10:00  look  -> balance 0.00, entries 0
    """)


def test_r2_total_is_number_times_price() -> None:
    Story("""
        2025-01-01 10:00  topup 930.00
        2025-01-01 10:00  connect T1
        2025-01-01 10:00  connect T2
        2025-01-01 10:00  connect T3  -> balance 0.00, sum connection 3 930.00
    """)


def test_r3_test_device_is_exempt() -> None:
    Story("""
        2025-01-01 10:00  topup 700.00
        2025-01-01 10:00  connect T1
        2025-01-01 10:00  connect X test
        2025-01-01 10:00  connect T2  -> sum connection 2 620.00, X active
    """)


def test_r4_a_switch_to_paid_takes_every_tracker() -> None:
    story = Story(
        on="Free",
        text="""
        2025-01-01 10:00  topup 1550.00
        2025-01-01 10:00  connect T1
        2025-01-01 10:00  connect T2
        2025-01-01 10:00  connect T3
        2025-01-01 10:00  connect T4
        2025-01-01 10:00  connect T5  -> entries 1
        2025-01-02 10:00  switch Std  -> sum connection 5 1550.00, balance 0.00
    """,
    )
    assert [story.shown(f"T{n}") for n in range(1, 6)] == ["active"] * 5


def test_r5_no_other_debits_exist() -> None:
    assert set(TOUCHES) == set(Kind)
    story = Story("2025-01-01 10:00 topup 100.00")
    reports = Transfer(
        id="reports:1",
        kind=Kind.DAILY,
        at=story.state.settled_to,
        currency="RUB",
        amount_minor=-100,
        postings=(Posting(Account.CUSTOMER, -100), Posting(Account.SMS, 100)),
    )
    assert post(story.state.book, reports) == Refused(Reason.WRONG_ACCOUNT)


def test_r6_free_charges_nothing_ever() -> None:
    Story(
        on="Free",
        text="""
        2025-01-01 10:00  topup 100.00
        2025-01-01 10:00  connect T1
        2025-01-01 10:00  connect T2
        2025-01-01 10:00  connect T3
        2025-01-15 10:00  sms T1  -> email
        2025-03-02 10:00  look    -> entries 1, T1 active, T2 active, T3 active
    """,
    )


def test_r7_old_entries_keep_their_price() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-02-10 10:00  price Std 330.00 since=2025-03-01
        2025-02-28 12:00  look  -> last daily T1 2025-02-28 -11.08
        2025-03-01 12:00  look  -> last daily T1 2025-03-01 -10.64
        2025-03-02 12:00  price Std 340.00 since=2025-03-02  -> refused effective_in_the_past
    """)


def test_r8_connecting_debits_one_months_price() -> None:
    Story("""
        2025-02-10 10:00  topup 310.00
        2025-02-10 10:00  connect T1  -> last connection -310.00, balance 0.00
    """)


def test_r9_nothing_more_for_31_days() -> None:
    Story("""
        2025-01-01 10:00     topup 1000.00
        2025-01-01 10:00     connect T1
        2025-02-01 09:59:59  look  -> balance 690.00, entries 2
    """)


def test_r10_then_daily() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-02-01 10:00  look  -> last daily T1 2025-02-01 -11.07, balance 678.93
        2025-02-28 23:59  look  -> sum daily 28 310.00, balance 380.00
    """)


def test_r11_the_window_is_31_days_not_a_month() -> None:
    for price, start, ends, fee in (
        ("290.00", "2024-01-31 18:00", "2024-03-02 18:00", "9.35"),
        ("280.00", "2025-01-31 18:00", "2025-03-03 18:00", "9.03"),
    ):
        Story(
            tariffs=(tariff("Std", price),),
            text=f"""
                {start}  topup 1000.00
                {start}  connect T1  -> T1 until {ends}
                {ends}   look        -> last daily T1 {ends[:10]} -{fee}
            """,
        )


@pytest.mark.parametrize(
    ("zone", "connected", "ends"),
    [
        ("Europe/Tallinn", "2025-03-10T10:30+02:00", "2025-04-10T11:30+03:00"),
        ("Europe/Tallinn", "2025-10-10T00:30+03:00", "2025-11-10T00:30+02:00"),
        ("America/Santiago", "2025-08-20T23:30-04:00", "2025-09-21T00:30-03:00"),
    ],
)
def test_r12_dst_never_shortens_the_window(zone: str, connected: str, ends: str) -> None:
    end = window_end(datetime.fromisoformat(connected), zone)
    assert end == datetime.fromisoformat(ends)
    assert end.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") == ends


def test_r12_the_first_debit_is_dated_by_the_windows_end() -> None:
    Story(
        zone="America/Santiago",
        text="""
        2025-08-20 23:30  topup 1000.00
        2025-08-20 23:30  connect T1
        2025-09-21 00:29  look  -> entries 2
        2025-09-21 00:30  look  -> last daily T1 2025-09-21 -10.34
    """,
    )


def test_r13_deleting_returns_nothing() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-01-01 10:05  remove T1  -> balance 690.00, T1 unknown
        2025-03-01 10:00  look       -> balance 690.00
    """)


def test_r14_adding_again_debits_again() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1  -> balance 690.00
        2025-01-06 10:00  remove T1
        2025-01-06 10:00  connect T1  -> balance 380.00, T1 until 2025-02-06 10:00
    """)


def test_r15_going_to_free_returns_nothing() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-01-02 10:00  switch Free  -> balance 690.00, T1 active
    """)


def test_r16_a_new_switch_to_paid_debits_again() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-01-02 10:00  switch Free
        2025-02-01 10:00  switch Std  -> balance 380.00, T1 until 2025-03-04 10:00
    """)


def test_r17_free_to_paid_one_fee_each() -> None:
    Story(
        on="Free",
        tariffs=(FREE, tariff("Std", "300.00")),
        text="""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect X test
        2025-01-01 10:00  connect T5
        2025-01-01 10:00  connect T4
        2025-01-01 10:00  connect T3
        2025-01-01 10:00  connect T2
        2025-01-01 10:00  connect T1
        2025-01-02 10:00  switch Std  -> balance 100.00, T1 active, T2 active, T3 active, T4 blocked 300.00
        2025-01-02 10:00  look        -> T5 blocked 300.00, X active, sum connection 3 900.00
    """,
    )


def test_r18_free_to_paid_without_trackers() -> None:
    Story(
        on="Free",
        text="""
        2025-01-01 10:00  topup 1000.00
        2025-01-02 10:00  switch Std  -> balance 1000.00, entries 1
    """,
    )


def test_r19_fee_not_affordable() -> None:
    Story("""
        2025-01-01 10:00  topup 309.99
        2025-01-01 10:00  connect T1  -> T1 blocked 310.00, balance 309.99
        2025-01-03 12:00  topup 0.01  -> last connection -310.00, balance 0.00, T1 until 2025-02-03 12:00
    """)


def test_r20_connecting_is_idempotent() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1 key=a
        2025-01-01 10:01  connect T1 key=a  -> again, balance 690.00
        2025-01-01 10:02  connect T1 key=b  -> refused already_connected, balance 690.00
        2025-01-01 10:03  connect T2 key=a  -> refused id_reused, balance 690.00
    """)


def month(price_minor: int, year: int, number: int, days: int) -> Counter[int]:
    return Counter(daily_share(price_minor, date(year, number, day)) for day in range(1, days + 1))


def test_r21_daily_is_the_price_by_the_days_of_the_month() -> None:
    assert month(31000, 2025, 1, 31) == {1000: 31}
    assert month(31000, 2025, 4, 30) == {1033: 20, 1034: 10}
    assert month(31000, 2025, 2, 28) == {1107: 24, 1108: 4}
    assert month(31000, 2024, 2, 29) == {1068: 1, 1069: 28}
    assert [d for d in range(1, 29) if daily_share(31000, date(2025, 2, d)) == 1108] == [7, 14, 21, 28]


def test_r22_no_rounding_drift() -> None:
    assert month(10000, 2025, 1, 31) == {322: 13, 323: 18}
    assert 322 * 13 + 323 * 18 == 10000


def test_r23_leap_rule_with_centuries() -> None:
    for year, price_minor, days in (
        (2000, 29000, 29),
        (2024, 29000, 29),
        (2025, 28000, 28),
        (2100, 28000, 28),
    ):
        assert month(price_minor, year, 2, days) == {1000: days}


def test_r24_currencies_without_decimals_and_with_three() -> None:
    assert month(9990, 2025, 2, 28) == {356: 6, 357: 22}
    Story(
        code="CLP",
        zone="America/Santiago",
        tariffs=(tariff("Std", "9990", code="CLP", sms="90"),),
        text="""
        2025-01-01 10:00  topup 19980
        2025-01-01 10:00  connect T1  -> balance 9990
        2025-02-28 23:00  look        -> balance 0, sum daily 28 9990
    """,
    )
    Story(
        code="KWD",
        tariffs=(tariff("Std", "1.000", code="KWD", sms=None),),
        text="""
        2025-01-01 10:00  topup 2.000
        2025-01-01 10:00  connect T1
        2025-02-28 23:00  look  -> balance 0.000, sum daily 28 1.000
    """,
    )


def test_r25_at_most_one_daily_debit_for_a_tracker_and_date() -> None:
    story = Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-02-02 00:00  look  -> sum daily 2 22.14
        2025-02-02 00:00  look  -> sum daily 2 22.14
        2025-02-02 08:00  look  -> sum daily 2 22.14
    """)
    day = story.when("2025-02-03", "00:00")
    workers = [settle(story.state, day) for _ in range(4)]
    assert all(worker == workers[0] for worker in workers)  # the same entry, under the same id
    story.settle(day)
    booked = story.entries[-1].transfer
    assert booked.id == "daily:T1:2025-02-03"
    assert post(story.state.book, booked).__class__.__name__ == "AlreadyPosted"


def test_r26_missed_runs_are_caught_up_by_date() -> None:
    Story("""
        2025-01-01 10:00  topup 346.07
        2025-01-01 10:00  connect T1  -> balance 36.07
        2025-02-01 10:00  look  -> balance 25.00
        2025-02-04 15:00  look  -> sum daily 2025-02-0 3 33.21, last daily T1 2025-02-03 -11.07
        2025-02-04 15:00  look  -> T1 blocked 11.07, balance 2.86
    """)


def test_r27_the_day_is_the_accounts_local_date() -> None:
    story = Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-03-10 21:00Z  look  -> last daily T1 2025-03-11 -10.00
        2025-03-11 01:00   zone America/Santiago
        2025-03-12 02:59Z  look  -> last daily T1 2025-03-11 -10.00, T1 active
        2025-03-12 03:00Z  look  -> last daily T1 2025-03-12 -10.00
    """)
    at = [entry.transfer.at.isoformat() for entry in story.entries if str(entry.transfer.day) == "2025-03-11"]
    assert at == ["2025-03-10T21:00:00+00:00"]


def test_r28_debited_ahead_no_return_for_a_part_day() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-02-05 00:00  look       -> last daily T1 2025-02-05 -11.07, balance 634.65
        2025-02-05 08:00  remove T1  -> balance 634.65
    """)


def test_r29_a_silent_tracker_is_charged() -> None:
    Story("""
        2025-01-01 00:00  topup 620.00
        2025-01-01 00:00  connect T1
        2025-02-28 23:59  look  -> sum daily 2025-02 28 310.00
    """)


def test_r30_a_tariff_change_takes_effect_with_the_next_debit() -> None:
    Story(
        tariffs=(STD, tariff("Pro", "620.00")),
        text="""
        2025-01-01 10:00  topup 2000.00
        2025-01-01 10:00  connect T1
        2025-03-15 20:00  switch Pro  -> last daily T1 2025-03-15 -10.00
        2025-03-16 00:00  look        -> last daily T1 2025-03-16 -20.00
        2025-03-31 23:59  look        -> sum daily 2025-03 31 470.00
    """,
    )


def test_r31_dearer_tariff_within_the_window() -> None:
    Story(
        on="Small",
        tariffs=(tariff("Small", "100.00"), tariff("Big", "1000.00")),
        text="""
        2025-01-01 10:00  topup 500.00
        2025-01-01 10:00  connect T1
        2025-01-02 10:00  switch Big
        2025-02-01 09:59  look  -> balance 400.00
        2025-02-01 10:00  look  -> last daily T1 2025-02-01 -35.71
    """,
    )
