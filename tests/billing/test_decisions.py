"""What the published terms leave open and we decided: D8, and the cases named in docs/explanation/billing.md."""

from __future__ import annotations

from datetime import date

import pytest

from tests.billing.stories import STD, TERM, Story, tariff
from tracker_server.billing.state import Settings
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
