"""What the published terms leave open and we decided: D8, and the cases named in docs/explanation/billing.md."""

from __future__ import annotations

from datetime import date

import pytest

from tests.billing.stories import STD, TERM, Story, tariff
from tracker_server.billing.state import Reveal, Settings
from tracker_server.billing.tariffs import Mode, Price, Tariff


def test_d8_waived_dates_are_not_charged_and_not_blocked() -> None:
    Story("""
        2025-01-01 10:00  topup 343.21
        2025-01-01 10:00  connect T1
        2025-02-02 12:00  look                         -> balance 11.07
        2025-02-02 12:00  waive 2025-02-03 2025-02-04
        2025-02-03 12:00  look                         -> T1 active, balance 11.07
        2025-02-04 12:00  look                         -> T1 active, balance 11.07
        2025-02-05 12:00  look                         -> last daily T1 2025-02-05 -11.07
        2025-02-06 12:00  look                         -> T1 blocked 11.07
        2025-02-06 12:00  waive 2025-02-06 2025-02-06  -> refused already_settled
        2025-02-06 12:00  waive 2025-02-08 2025-02-07  -> refused already_settled
    """)


def test_d8_after_an_outage_the_operator_waives_before_anything_is_settled() -> None:
    Story("""
        2025-01-01 10:00  topup 400.00
        2025-01-01 10:00  connect T1
        2025-02-02 12:00  look                         -> balance 67.86
        2025-02-06 09:00  waive 2025-02-03 2025-02-05  -> balance 56.79, last daily T1 2025-02-06 -11.07
    """)


def test_d8_a_waived_date_shows_what_is_blocked_or_overdue() -> None:
    Story("""
        2025-01-01 10:00  topup 310.00
        2025-01-01 10:00  connect T1
        2025-02-02 12:00  waive 2025-02-05 2025-02-05  -> T1 blocked 11.07
        2025-02-05 00:00  look                         -> T1 active
        2025-02-06 00:00  look                         -> T1 blocked 11.07
    """)
    Story(
        on="Term",
        text="""
        2025-03-01 10:00  topup 310.00
        2025-03-01 10:00  connect T1 months=1
        2025-04-02 12:00  waive 2025-04-05 2025-04-05  -> T1 overdue 310.00
        2025-04-05 00:00  look                         -> T1 active
        2025-04-06 00:00  look                         -> T1 overdue 310.00
    """,
    )


def test_going_to_free_gives_up_the_window_but_a_term_goes_on() -> None:
    Story("""
        2025-01-01 10:00  topup 310.00
        2025-01-01 10:00  connect T1
        2025-01-05 10:00  switch Free  -> T1 active
        2025-01-06 10:00  switch Term  -> T1 overdue 310.00
    """)
    Story(
        on="Term",
        text="""
        2025-01-01 10:00  topup 930.00
        2025-01-01 10:00  connect T1 months=3  -> T1 until 2025-04-01 00:00
        2025-01-05 10:00  switch Free
        2025-01-06 10:00  switch Term          -> T1 active, T1 until 2025-04-01 00:00
        2025-02-06 10:00  switch Std           -> T1 active, entries 2
    """,
    )


def test_from_balance_to_term_the_first_term_begins_where_the_paid_dates_end() -> None:
    Story("""
        2025-01-01 10:00  topup 2000.00
        2025-01-01 10:00  connect T1
        2025-01-10 10:00  switch Term        -> T1 active, T1 until 2025-02-01 10:00
        2025-02-01 10:00  look               -> T1 overdue 310.00
        2025-02-03 10:00  pay T1 months=1    -> T1 active, T1 until 2025-03-01 00:00
    """)


def test_a_term_that_was_never_paid_owes_the_connection_fee_in_balance_mode() -> None:
    Story(
        on="Term",
        text="""
        2025-01-01 10:00  connect T1                  -> T1 overdue 310.00
        2025-01-02 10:00  switch Std                  -> T1 blocked 310.00
        2025-01-03 10:00  topup 310.00                -> last connection -310.00, T1 active
    """,
    )


def test_an_overdue_term_is_not_paid_from_the_balance_unasked() -> None:
    Story(
        on="Term",
        text="""
        2025-01-01 10:00  connect T1
        2025-01-02 10:00  topup 1000.00       -> T1 overdue 310.00, balance 1000.00
        2025-01-02 10:00  pay T1 months=2     -> T1 active, balance 380.00
    """,
    )


def test_a_cheaper_tariff_unlocks_at_once() -> None:
    Story(
        tariffs=(STD, tariff("Small", "31.00")),
        text="""
        2025-01-01 10:00  topup 315.00
        2025-01-01 10:00  connect T1
        2025-03-02 10:00  look          -> T1 blocked 10.00, balance 5.00
        2025-03-02 11:00  switch Small  -> T1 active, last daily T1 2025-03-02 -1.00
    """,
    )


def test_a_share_that_is_no_minor_unit_is_no_entry() -> None:
    story = Story(
        tariffs=(tariff("Tiny", "0.03"),),
        on="Tiny",
        text="""
        2025-01-01 10:00  topup 0.06
        2025-01-01 10:00  connect T1
        2025-02-28 23:59  look  -> T1 active, balance 0.00, sum daily 3 0.03
    """,
    )
    assert [str(entry.transfer.day) for entry in story.entries[2:]] == [
        "2025-02-10",
        "2025-02-19",
        "2025-02-28",
    ]


@pytest.mark.parametrize("mode", [Mode.BALANCE, Mode.TERM])
def test_a_paid_tariff_whose_price_is_nothing_is_free_until_it_has_one(mode: Mode) -> None:
    """No command makes such a price; a hand in the database may, and it must cost nobody the clock."""
    nothing = Tariff("Nil", mode, (Price(date.min, 0), Price(date(2025, 3, 1), 31000)))
    story = Story(on="Nil", tariffs=(nothing,), start="2025-01-01 10:00")
    due = "blocked 310.00" if mode is Mode.BALANCE else "overdue 310.00"
    story.tell(f"""
        2025-01-01 10:00     connect T1   -> T1 active, entries 0
        2025-01-02 10:00     activate T1  -> T1 active, entries 0
        2025-02-28 23:59:59  look         -> T1 active, entries 0
        2025-03-01 00:00     look         -> T1 {due}
        2025-03-01 10:00     topup 310.00
        2025-03-01 10:00     activate T1  -> T1 active, balance 0.00
    """)


def test_a_zone_further_east_may_begin_a_date_at_once() -> None:
    Story(
        zone="America/Santiago",
        text="""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-03-10 20:00  look                -> last daily T1 2025-03-10 -10.00
        2025-03-10 20:00  zone Europe/Moscow  -> last daily T1 2025-03-11 -10.00
        2025-03-11 20:59Z look                -> last daily T1 2025-03-11 -10.00
        2025-03-11 21:00Z look                -> last daily T1 2025-03-12 -10.00
    """,
    )


def test_converting_without_money_blocks_as_connecting_does() -> None:
    Story("""
        2025-01-01 10:00  connect X test  -> X active
        2025-01-05 10:00  convert X       -> X blocked 310.00
    """)


def test_a_refund_and_a_plan_wait_for_nobody() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-01-31 10:00  switch Free effective=2025-02-01
        2025-02-28 10:00  look  -> balance 690.00, T1 active
    """)


def test_withdrawal_gives_terms_back_by_what_was_not_used() -> None:
    from tracker_server.billing.state import WithdrawalAmount

    Story(
        on="Term",
        tariffs=(TERM,),
        settings=Settings(withdrawal_amount=WithdrawalAmount.PROPORTIONATE),
        text="""
        2025-03-01 10:00  topup 620.00
        2025-03-01 10:00  connect T1 months=2
        2025-03-10 10:00  withdraw  -> last refund -520.00, balance 0.00
    """,
    )


def test_a_date_that_was_paid_is_not_in_a_first_term_again() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-02-05 10:00  switch Free
        2025-02-05 11:00  switch Term      -> T1 active, T1 until 2025-02-06 00:00
        2025-02-05 12:00  pay T1 months=1  -> T1 active, T1 until 2025-03-06 00:00
    """)


BLOCKED_TEN_DAYS = """
    2025-01-01 10:00  topup 310.00
    2025-01-01 10:00  connect T1
    2025-02-01 10:00  look          -> T1 blocked 11.07
    2025-02-10 12:00  topup 100.00  -> T1 active, last daily T1 2025-02-10 -11.07, balance 88.93
"""


@pytest.mark.parametrize("reveal", [Reveal.PAID_DATES_ONLY, Reveal.BACK_PAY])
def test_d5_dates_that_nobody_paid_stay_hidden_and_a_paid_date_is_shown_whole(reveal: Reveal) -> None:
    story = Story(BLOCKED_TEN_DAYS, settings=Settings(reveal=reveal))
    story.tell("2025-02-10 12:00  look -> T1 unpaid 2025-02-01T10:00..2025-02-10T00:00")


def test_d5_by_default_all_is_shown_and_nothing_is_noted() -> None:
    story = Story(BLOCKED_TEN_DAYS + "2025-02-10 12:00  back_pay T1 -> refused back_pay_not_offered")
    story.tell("2025-02-10 12:00  look -> T1 unpaid nothing")


def test_d5_back_pay_charges_each_hidden_date_its_own_share_once() -> None:
    """Feb 1 to 9 of 310.00: 11.07 each but the 7th, 11.08."""
    story = Story(BLOCKED_TEN_DAYS, settings=Settings(reveal=Reveal.BACK_PAY))
    story.tell("""
        2025-02-10 12:30  refund 0.01
        2025-02-10 13:00  back_pay T1    -> refused insufficient_funds, balance 88.92
        2025-02-10 13:00  look           -> T1 unpaid 2025-02-01T10:00..2025-02-10T00:00
        2025-02-10 13:01  topup 10.72
        2025-02-10 13:02  back_pay T1    -> last daily T1 2025-02-09 -11.07, sum daily 2025-02 10 110.71, balance 0.00
        2025-02-10 13:02  look           -> T1 active, T1 unpaid nothing
        2025-02-10 13:03  back_pay T1    -> refused nothing_unpaid
        2025-02-11 00:00  look           -> T1 blocked 11.07
    """)


def test_d5_a_connection_fee_pays_from_its_own_instant_on() -> None:
    story = Story(settings=Settings(reveal=Reveal.PAID_DATES_ONLY), start="2025-01-01 10:00")
    story.tell("""
        2025-01-01 10:00  topup 309.99
        2025-01-01 10:00  connect T1  -> T1 blocked 310.00
        2025-01-03 12:00  topup 0.01  -> T1 active, T1 unpaid 2025-01-01T10:00..2025-01-03T12:00
    """)


def test_d5_a_term_that_is_paid_late_pays_its_gap() -> None:
    story = Story(on="Term", settings=Settings(reveal=Reveal.BACK_PAY), start="2025-03-01 10:00")
    story.tell("""
        2025-03-01 10:00  topup 620.00
        2025-03-01 10:00  connect T1 months=1
        2025-04-10 10:00  look                 -> T1 overdue 310.00
        2025-04-10 10:00  pay T1 months=1      -> T1 active, T1 until 2025-05-01 00:00, T1 unpaid nothing
    """)


def test_d5_what_a_free_tariff_unlocks_stays_unpaid_and_is_paid_by_the_tariff_of_its_dates() -> None:
    story = Story(settings=Settings(reveal=Reveal.BACK_PAY), start="2025-01-01 10:00")
    story.tell("""
        2025-01-01 10:00  topup 310.00
        2025-01-01 10:00  connect T1
        2025-02-03 12:00  switch Free    -> T1 active, T1 unpaid 2025-02-01T10:00..2025-02-03T12:00
        2025-02-03 12:00  topup 40.00
        2025-02-03 12:00  back_pay T1    -> sum daily 3 33.21, balance 6.79, T1 unpaid nothing
    """)


def test_d5_a_test_trackers_time_beyond_its_limit_is_unpaid() -> None:
    story = Story(settings=Settings(reveal=Reveal.PAID_DATES_ONLY, test_days_max=7), start="2025-03-01 10:00")
    story.tell("""
        2025-03-01 10:00  connect T1 test
        2025-03-08 00:00  look           -> T1 test_expired
        2025-03-09 12:00  topup 310.00
        2025-03-09 12:00  convert T1     -> T1 active, T1 unpaid 2025-03-08T00:00..2025-03-09T12:00
    """)


def test_d11_a_dearer_tariff_within_the_window_asks_the_difference_where_the_operator_says_so() -> None:
    """100.00 to 1000.00 on Jan 2: 29 whole dates of the 31 days are to come: 900.00 x 29 / 31 = 841.93."""
    tariffs = (tariff("Std", "100.00"), tariff("Pro", "1000.00"))
    story = Story(tariffs=tariffs, settings=Settings(charge_difference=True), start="2025-01-01 10:00")
    story.tell("""
        2025-01-01 10:00  topup 941.92
        2025-01-01 10:00  connect T1  -> balance 841.92
        2025-01-02 10:00  switch Pro  -> refused insufficient_funds, balance 841.92
        2025-01-02 11:00  topup 0.01
        2025-01-02 11:00  switch Pro  -> last connection T1 -841.93, balance 0.00, T1 until 2025-02-01 10:00
        2025-01-03 10:00  switch Std  -> balance 0.00
        2025-02-01 10:00  look        -> T1 blocked 3.57
    """)


def test_d11_what_was_paid_once_within_a_window_is_not_asked_again() -> None:
    tariffs = (tariff("Std", "310.00"), tariff("Pro", "620.00"))
    story = Story(tariffs=tariffs, settings=Settings(charge_difference=True), start="2025-05-10 10:00")
    story.tell("""
        2025-05-10 10:00  topup 1000.00
        2025-05-10 10:00  connect T1
        2025-05-20 10:00  switch Pro  -> last connection T1 -200.00, balance 490.00
        2025-05-21 10:00  switch Std
        2025-06-01 10:00  switch Pro  -> balance 490.00
    """)


def test_d11_a_plan_whose_difference_cannot_be_paid_lapses() -> None:
    tariffs = (tariff("Std", "310.00"), tariff("Pro", "620.00"))
    story = Story(tariffs=tariffs, settings=Settings(charge_difference=True), start="2025-05-20 10:00")
    story.tell("""
        2025-05-20 10:00  topup 310.00
        2025-05-20 10:00  connect T1
        2025-05-21 10:00  switch Pro effective=2025-06-01
        2025-06-01 00:00  look        -> balance 0.00, T1 until 2025-06-20 10:00
    """)
    assert story.state.tariff.name == "Std"
