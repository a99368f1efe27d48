"""Prepaid terms, pauses, notices, forecasts: rules R88 to R113 and R134 to R141, as far as money decides them."""

from __future__ import annotations

from datetime import date

from tests.billing.stories import Story
from tracker_server.billing.commands import Activate, AlreadyDone, Connect, Remove, TopUp
from tracker_server.billing.engine import act, settle
from tracker_server.billing.forecast import forecast
from tracker_server.billing.notices import notices_due
from tracker_server.billing.state import Settings, Term
from tracker_server.billing.terms import TERM_PRESETS


def term_story(text: str, **options: object) -> Story:
    return Story(text, on="Term", **options)  # type: ignore[arg-type]


TO_MARCH_31 = """
    2025-03-01 10:00  topup 10000.00
    2025-03-01 10:00  connect T1 months=1  -> T1 until 2025-04-01 00:00, last term T1 -310.00
"""


def test_r88_one_to_twelve_months() -> None:
    term_story(TO_MARCH_31).tell("""
        2025-03-02 10:00  pay T1 months=0   -> refused months_out_of_range
        2025-03-02 10:00  pay T1 months=13  -> refused months_out_of_range
        2025-03-02 10:00  pay T1 months=1   -> T1 until 2025-05-01 00:00
        2025-03-02 10:00  pay T1 months=5   -> T1 until 2025-10-01 00:00
        2025-03-02 10:00  pay T1 months=12  -> T1 until 2026-10-01 00:00, sum term 4 5890.00
    """)


def test_r89_presets() -> None:
    assert list(TERM_PRESETS.values()) == [1, 2, 3, 6, 12]


def test_r90_paid_before_it_is_used() -> None:
    term_story(TO_MARCH_31).tell("""
        2025-03-31 23:59:59  look  -> T1 active
        2025-04-01 00:00     look  -> T1 overdue 310.00
    """)


def test_r91_always_contiguous() -> None:
    term_story(TO_MARCH_31).tell("2025-04-10 10:00  pay T1 months=1  -> T1 until 2025-05-01 00:00, T1 active")


def test_r92_early_renewal_extends_from_the_end() -> None:
    term_story(TO_MARCH_31).tell("2025-03-10 10:00  pay T1 months=3  -> T1 until 2025-07-01 00:00")


def test_r93_the_month_end_anchor_is_kept() -> None:
    ends = [Term(date(2025, 1, 31), months).end.isoformat() for months in (1, 2, 3, 4)]
    assert ends == ["2025-02-28", "2025-03-31", "2025-04-30", "2025-05-31"]
    assert str(Term(date(2024, 2, 29), 12).end) == "2025-02-28"
    assert str(Term(date(2024, 2, 29), 48).end) == "2028-02-29"
    term_story("""
        2025-01-31 10:00  topup 10000.00
        2025-01-31 10:00  connect T1 months=1  -> T1 until 2025-02-28 00:00
        2025-02-10 10:00  pay T1 months=1      -> T1 until 2025-03-31 00:00
        2025-02-10 10:00  pay T1 months=1      -> T1 until 2025-04-30 00:00
        2025-02-10 10:00  pay T1 months=1      -> T1 until 2025-05-31 00:00
    """)


def test_r94_payment_activates() -> None:
    term_story(TO_MARCH_31).tell("2025-03-20 10:00  pay T1 months=6  -> T1 until 2025-10-01 00:00, T1 active")


def test_r96_a_cart_is_paid_whole_or_not_at_all() -> None:
    term_story("""
        2025-03-01 10:00  connect T1
        2025-03-01 10:00  connect T2
        2025-03-01 10:00  topup 619.99
        2025-03-01 10:00  pay months=1  -> refused insufficient_funds, T1 overdue 310.00, balance 619.99
        2025-03-01 10:01  topup 0.01
        2025-03-01 10:01  pay months=1  -> T1 active, T2 active, balance 0.00
    """)


def test_r96_what_a_payment_is_for_comes_before_anybody_elses_turn() -> None:
    """T1 was blocked for long and comes first by priority; the payment is for T2 and T3, 620.00 together."""
    story = Story("""
        2025-03-01 10:00  connect T1 priority=1  -> T1 blocked 310.00
    """)
    cart = (
        Connect(device="T2", priority=2),
        Connect(device="T3", priority=3),
        Activate(device="T2"),
        Activate(device="T3"),
    )
    payment = TopUp(key="cart", amount_minor=62000)
    paid = act(story.state, payment, story.when("2025-03-01", "11:00"), cart)
    assert [device.entered for device in paid.state.by_turn()] == [False, True, True]
    assert paid.state.book.balance_minor == 0
    # The gateway tells it again a week later, when T2 is gone: nothing is connected for it a second time.
    gone = act(paid.state, Remove(device="T2"), story.when("2025-03-05", "11:00")).state
    again = act(gone, payment, story.when("2025-03-08", "11:00"), cart)
    assert again.answer == AlreadyDone()
    assert again.facts == ()
    assert sorted(again.state.devices) == ["T1", "T3"]


def test_r99_notices_with_the_amount() -> None:
    story = term_story("""
        2025-03-01 10:00  topup 930.00
        2025-03-01 10:00  connect T1 months=1
        2025-03-01 10:00  connect T2 months=1
        2025-03-01 10:00  connect T3 months=1
    """)
    sent: set[str] = set()
    told: list[tuple[str, int, int]] = []
    for day in ("03-20", "03-25", "03-25", "03-30", "03-31", "04-01", "04-09", "04-20"):
        story.tell(f"2025-{day} 12:00 look")
        for notice in notices_due(story.state, story.state.settled_to, sent):
            sent.update(notice.covers)
            told.append((day, notice.level, notice.amount_minor))
    # The server was down from Apr 1 to Apr 9: T+3 and T+7 come when it is back, once each.
    assert told == [
        ("03-25", -7, 93000),
        ("03-30", -3, 93000),
        ("03-31", -1, 93000),
        ("04-01", 0, 93000),
        ("04-09", 3, 93000),
        ("04-09", 7, 93000),
    ]


def test_r99_a_low_balance_is_announced() -> None:
    story = Story("""
        2025-01-01 10:00  topup 332.14
        2025-01-01 10:00  connect T1
    """)
    levels: list[int] = []
    sent: set[str] = set()
    for day in range(20, 32):
        story.tell(f"2025-01-{day} 12:00 look")
        for notice in notices_due(story.state, story.state.settled_to, sent):
            sent.update(notice.covers)
            levels.append(notice.level)
    assert levels == [-7, -3]  # blocked on Feb 3
    story.tell("2025-02-03 12:00  look  -> T1 blocked 11.07")
    levels += [notice.level for notice in notices_due(story.state, story.state.settled_to, sent)]
    assert levels == [-7, -3, 0]


def test_r102_collection_hold() -> None:
    story = term_story(TO_MARCH_31).tell("""
        2025-03-20 10:00  hold_collection 2025-04-15
        2025-04-14 23:00  look  -> T1 overdue 310.00
    """)
    assert notices_due(story.state, story.state.settled_to, set()) == []
    story.tell("2025-04-20 10:00  look  -> T1 overdue 310.00")
    assert notices_due(story.state, story.state.settled_to, set()) == []  # none of that time comes later


def test_r103_overdue_devices_stay_connected() -> None:
    story = term_story(TO_MARCH_31).tell("2025-04-05 10:00  look  -> T1 overdue 310.00")
    assert "T1" in story.state.devices  # hidden, never deaf


def test_r105_regularising_pays_the_gap() -> None:
    story = term_story(TO_MARCH_31).tell("2025-04-10 10:00  pay T1 months=1  -> balance 9380.00")
    term = story.state.devices["T1"].term
    assert term is not None
    assert (term.start, term.months) == (date(2025, 3, 1), 2)  # Apr 1 to 9 are inside


def test_r105_a_long_gap_needs_as_many_months() -> None:
    term_story(TO_MARCH_31).tell("""
        2025-06-15 10:00  look              -> T1 overdue 930.00
        2025-06-15 10:00  pay T1 months=2   -> T1 overdue 310.00
        2025-06-15 10:00  activate T1       -> T1 until 2025-07-01 00:00, T1 active
    """)


def test_r106_suspension_up_to_six_months() -> None:
    begin = "2025-08-31 10:00  connect T1"
    term_story(begin).tell("2025-08-31 10:00  suspend T1 until=2026-02-28  -> T1 suspended")
    term_story(begin).tell("2025-08-31 10:00  suspend T1 until=2026-03-01  -> refused suspension_limit")
    term_story(begin).tell("2025-08-31 10:00  suspend T1 until=2025-08-30  -> refused suspension_limit")


def test_r107_prepaid_days_are_frozen() -> None:
    term_story("""
        2025-09-01 10:00  topup 1240.00
        2025-09-01 10:00  connect T1 months=4  -> T1 until 2026-01-01 00:00
        2025-10-01 10:00  suspend T1
        2025-11-01 10:00  resume T1            -> T1 until 2026-02-01 00:00, T1 active
    """)


def test_r107_the_31_days_are_frozen_too() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1  -> T1 until 2025-02-01 10:00
        2025-01-11 12:00  suspend T1
        2025-03-11 12:00  resume T1   -> T1 until 2025-04-01 10:00, balance 690.00
        2025-04-01 10:00  look        -> last daily T1 2025-04-01 -10.33
    """)


def test_r107_no_charges_while_suspended() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-02-02 10:00  suspend T1  -> balance 667.86
        2025-02-20 10:00  look        -> balance 667.86, T1 suspended
        2025-02-20 10:00  resume T1   -> last daily T1 2025-02-20 -11.07
        2025-02-20 10:00  resume T1   -> refused not_suspended
    """)


def test_r108_resumes_by_itself_paid_or_blocked() -> None:
    story = Story("""
        2025-01-01 10:00  topup 310.00
        2025-01-01 10:00  connect T1
        2025-02-01 10:00  look                           -> T1 blocked 11.07
        2025-02-02 10:00  suspend T1 until=2025-02-20    -> T1 suspended
        2025-02-14 08:00  look
    """)
    assert [notice.key for notice in notices_due(story.state, story.state.settled_to, set())] == []
    story.tell("2025-02-14 10:00  look")
    assert [notice.key for notice in notices_due(story.state, story.state.settled_to, set())] == [
        "resume:T1:2025-02-21"
    ]
    story.tell("""
        2025-02-20 23:59  look  -> T1 suspended
        2025-02-21 00:00  look  -> T1 blocked 11.08
    """)


def test_r109_cumulative_cap() -> None:
    story = term_story("""
        2025-01-01 10:00  connect T1
        2025-01-01 10:00  suspend T1
        2025-05-01 10:00  resume T1
    """)
    story.tell("2025-08-01 10:00  suspend T1 until=2025-10-02  -> refused suspension_limit")
    story.tell("2025-08-01 10:00  suspend T1 until=2025-10-01  -> T1 suspended")


def test_r111_the_ledgers_dates_are_the_accounts() -> None:
    story = Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-03-11 00:00  look  -> last daily T1 2025-03-11 -10.00
    """)
    assert story.entries[-1].transfer.at.isoformat() == "2025-03-10T21:00:00+00:00"


def test_r113_first_month_guarantee() -> None:
    term_story(TO_MARCH_31).tell(
        "2025-03-31 23:59  withdraw guarantee  -> last refund -10000.00, balance 0.00"
    )
    term_story(TO_MARCH_31).tell("2025-04-01 00:00  withdraw guarantee  -> refused withdrawal_period_over")


def test_r134_forecast() -> None:
    story = Story("""
        2025-01-05 10:00  topup 842.84
        2025-01-05 10:00  connect T1
        2025-01-05 10:00  connect T2
        2025-02-10 12:00  look  -> balance 89.98
        2025-02-10 12:00  topup 10.02  -> balance 100.00
    """)
    ahead = forecast(story.state, story.when("2025-02-15", "00:00"))
    assert [(one.device, one.blocked_on) for one in ahead.outlooks] == [
        ("T1", None),
        ("T2", date(2025, 2, 15)),
    ]
    assert forecast(story.state, story.when("2025-02-14", "00:00")).balance_minor == 1142
    assert story.balance == "100.00"  # looking ahead moves nothing


def test_r140_a_clock_that_steps_back() -> None:
    story = Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-02-02 00:30  look  -> sum daily 2 22.14
        2025-02-01 22:30  look  -> sum daily 2 22.14
        2025-02-01 22:40  sms   -> sms
        2025-02-02 00:10  look  -> sum daily 2 22.14
    """)
    state, facts = settle(story.state, story.when("2025-02-01", "23:00"))
    assert facts == ()
    assert state == story.state


def test_a_pause_of_all_trackers() -> None:
    term_story(
        """
        2025-03-01 10:00  connect T1
        2025-03-01 10:00  connect T2
        2025-03-01 10:00  suspend   -> T1 suspended, T2 suspended
        2025-03-01 10:00  suspend   -> refused suspended
        2025-03-02 10:00  resume    -> T1 overdue 310.00, T2 overdue 310.00
    """,
        settings=Settings(suspension_months_max=1),
    )
