"""Short balances, blocks, unlocking, switches of tariff: rules R32 to R66, as far as money decides them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from tests.billing.stories import STD, Story, tariff
from tracker_server.billing.commands import Switch
from tracker_server.billing.engine import act
from tracker_server.billing.forecast import min_topup_minor
from tracker_server.billing.state import Settings, Unlock
from tracker_server.billing.switches import has_feature, history_limits

BY_HAND = Settings(unlock=Unlock.MANUAL)


def three_trackers(balance_on_feb_1: str, **options: object) -> Story:
    """T1 to T3, connected on Jan 1 at 10:00, with this much left when their 31 days end."""
    story = Story(**options)  # type: ignore[arg-type]
    return story.tell(f"""
        2025-01-01 10:00  topup 930.00
        2025-01-01 10:00  connect T1
        2025-01-01 10:00  connect T2
        2025-01-01 10:00  connect T3  -> balance 0.00
        2025-01-31 10:00  topup {balance_on_feb_1}
    """)


def one_tracker(balance_on_feb_1: str, **options: object) -> Story:
    """T1, connected on Jan 1 at 10:00, with this much left when its 31 days end."""
    story = Story(**options)  # type: ignore[arg-type]
    return story.tell(f"""
        2025-01-01 10:00  topup 310.00
        2025-01-01 10:00  connect T1
        2025-01-31 10:00  topup {balance_on_feb_1}
    """)


def test_r32_not_enough_blocks_and_takes_nothing() -> None:
    one_tracker("11.06").tell("2025-02-01 10:00  look  -> T1 blocked 11.07, balance 11.06")


def test_r33_exactly_enough_pays() -> None:
    one_tracker("11.07").tell("2025-02-01 10:00  look  -> T1 active, balance 0.00")


def test_r34_enough_for_some() -> None:
    three_trackers("25.00").tell("""
        2025-02-01 10:00  look  -> T1 active, T2 active, T3 blocked 11.07, balance 2.86
    """)


def test_r35_the_order_is_the_owners() -> None:
    for _replay in range(2):
        three_trackers("25.00").tell("""
            2025-01-31 11:00  priority T3 0
            2025-02-01 10:00  look  -> T3 active, T1 active, T2 blocked 11.07, balance 2.86
        """)


def test_r35_equal_priorities_go_by_age_and_then_by_name() -> None:
    Story("""
        2025-01-01 10:00  connect T2 priority=1
        2025-01-01 10:01  connect T1 priority=1
        2025-01-01 10:01  connect T0 priority=1
        2025-01-02 10:00  topup 620.00  -> T2 active, T0 active, T1 blocked 310.00
    """)


def test_r36_mixed_prices_skip_and_go_on() -> None:
    # T1 owes its connection fee, 310.00; T2 owes a day, 11.07.
    one_tracker("6.00").tell("""
        2025-02-01 10:00  connect T0 priority=0  -> T0 blocked 310.00, T1 blocked 11.07
        2025-02-01 11:00  topup 6.07             -> T0 blocked 310.00, T1 active, balance 1.00
    """)


def test_r37_a_blocked_tracker_is_not_shown() -> None:
    story = three_trackers("25.00").tell("2025-02-01 10:00 look")
    assert [device for device in story.state.devices if story.shown(device) == "active"] == ["T1", "T2"]


def test_r38_the_management_row() -> None:
    story = one_tracker("0.01").tell("2025-02-03 10:00  look  -> T1 blocked 11.07")
    since = story.state.devices["T1"].blocked_since
    assert since == story.when("2025-02-01", "10:00")


def test_r38_since_midnight() -> None:
    story = one_tracker("11.07").tell("2025-02-03 10:00  look  -> T1 blocked 11.07")
    assert story.state.devices["T1"].blocked_since == datetime(2025, 2, 1, 21, tzinfo=UTC)


def test_r42_no_alert_of_a_blocked_tracker_is_sent_or_debited() -> None:
    one_tracker("10.00").tell("""
        2025-02-01 10:00  look             -> T1 blocked 11.07
        2025-02-01 12:00  sms T1 key=zone  -> suppressed, balance 10.00
        2025-02-01 13:00  topup 100.00     -> T1 active, balance 98.93
        2025-02-01 14:00  sms T1 key=zone  -> again, balance 98.93
    """)


def test_r43_blocked_dates_are_not_debited() -> None:
    one_tracker("0.01").tell("""
        2025-02-01 10:00  look          -> T1 blocked 11.07
        2025-02-10 12:00  topup 99.99   -> last daily T1 2025-02-10 -11.07, balance 88.93
        2025-02-10 12:00  look          -> sum daily 1 11.07
    """)


def test_r44_a_cheaper_date_unlocks_by_itself() -> None:
    one_tracker("309.43").tell("""
        2025-02-28 12:00  look  -> T1 blocked 11.08, balance 10.51
        2025-02-28 23:59  look  -> T1 blocked 11.08
        2025-03-01 00:00  look  -> T1 active, balance 0.51
    """)


def test_r45_a_block_touches_no_other_tracker() -> None:
    with_t3 = three_trackers("25.00").tell("2025-02-01 12:00 look")
    without = Story("""
        2025-01-01 10:00  topup 930.00
        2025-01-01 10:00  connect T1
        2025-01-01 10:00  connect T2
        2025-02-01 12:00  look
    """)
    for device in ("T1", "T2"):
        assert with_t3.shown(device) == without.shown(device)
        assert with_t3.debits("daily", device) == without.debits("daily", device)


def test_r48_a_top_up_unlocks_automatically() -> None:
    one_tracker("0.01").tell("""
        2025-02-05 10:00  look         -> T1 blocked 11.07
        2025-02-05 10:01  topup 20.00  -> T1 active, balance 8.94
    """)


def test_r49_a_partial_top_up_unlocks_a_part() -> None:
    Story("""
        2025-01-01 10:00  topup 1265.00
        2025-01-01 10:00  connect T1
        2025-01-01 10:00  connect T2
        2025-01-01 10:00  connect T3
        2025-01-01 10:00  connect T4     -> balance 25.00
        2025-02-01 10:00  look           -> T3 blocked 11.07, T4 blocked 11.07, balance 2.86
        2025-02-01 12:00  topup 12.00    -> T3 active, T4 blocked 11.07, balance 3.79
    """)


def test_r50_manual_activation() -> None:
    one_tracker("0.01", settings=BY_HAND).tell("""
        2025-03-15 09:00  topup 9.99   -> T1 blocked 10.00, balance 10.00
        2025-03-15 10:00  activate T1  -> T1 active, last daily T1 2025-03-15 -10.00, balance 0.00
    """)


def test_r51_manual_activation_without_funds() -> None:
    one_tracker("0.01", settings=BY_HAND).tell("""
        2025-03-15 09:00  topup 9.98
        2025-03-15 10:00  activate T1  -> refused insufficient_funds, T1 blocked 10.00, balance 9.99
    """)
    one_tracker("9.99").tell("2025-03-15 10:00  activate T1  -> refused insufficient_funds, balance 9.99")


def test_r52_a_double_click_debits_once() -> None:
    one_tracker("0.01", settings=BY_HAND).tell("""
        2025-03-15 09:00  topup 9.99
        2025-03-15 10:00  activate T1  -> balance 0.00
        2025-03-15 10:00  activate T1  -> T1 active, sum daily 1 10.00
        2025-03-16 00:00  look         -> T1 blocked 10.00
    """)


def test_r53_owing_the_connection_fee() -> None:
    Story(
        settings=BY_HAND,
        text="""
        2025-01-01 10:00  topup 309.99
        2025-01-01 10:00  connect T1
        2025-01-03 11:00  activate T1  -> refused insufficient_funds, balance 309.99
        2025-01-03 11:30  topup 0.01   -> T1 blocked 310.00
        2025-01-03 12:00  activate T1  -> last connection -310.00, T1 until 2025-02-03 12:00
    """,
    )


def test_r54_top_ups_are_idempotent() -> None:
    Story("""
        2025-01-01 10:00  topup 500.00 key=evt_1  -> balance 500.00
        2025-01-01 10:00  topup 500.00 key=evt_1  -> again, balance 500.00
        2025-01-02 10:00  topup 500.00 key=evt_1  -> again, balance 500.00, entries 1
        2025-01-02 10:00  topup 600.00 key=evt_1  -> refused id_reused, balance 500.00
    """)


def test_r55_only_the_billing_block_is_lifted() -> None:
    one_tracker("0.01").tell("""
        2025-02-01 10:00  look          -> T1 blocked 11.07
        2025-02-01 11:00  suspend T1    -> T1 suspended
        2025-02-01 12:00  topup 100.00  -> T1 suspended, balance 100.01
        2025-02-01 13:00  resume T1     -> T1 active, balance 88.94
    """)


def test_r57_chargeback() -> None:
    Story("""
        2025-01-01 10:00  topup 410.00 key=a
        2025-01-01 10:00  topup 90.00 key=b
        2025-01-01 10:00  connect T1          -> balance 190.00
        2025-01-01 11:00  refund 90.00        -> balance 100.00
        2025-01-10 10:00  chargeback a 410.00 -> balance 0.00, owes 310.00, T1 active
        2025-02-01 10:00  look                -> T1 blocked 11.07
        2025-02-02 10:00  topup 350.00        -> owes 0.00, balance 28.93, T1 active
    """)


def test_r57_with_the_rules_own_numbers() -> None:
    Story(
        tariffs=(tariff("Std", "400.00"),),
        text="""
        2025-01-01 10:00  topup 500.00 key=a
        2025-01-01 10:00  connect T1         -> balance 100.00
        2025-01-10 10:00  chargeback a       -> last reversal -500.00, balance 0.00, owes 400.00
        2025-01-11 10:00  topup 450.00       -> balance 50.00, owes 0.00
    """,
    )


def test_r58_how_much_to_unlock_all() -> None:
    story = Story("""
        2025-01-01 10:00  topup 1265.00
        2025-01-01 10:00  connect T1
        2025-01-01 10:00  connect T2
        2025-01-01 10:00  connect T3
        2025-01-01 10:00  connect T4
        2025-02-01 10:00  look  -> balance 2.86, T3 blocked 11.07, T4 blocked 11.07
    """)
    assert min_topup_minor(story.state, story.state.settled_to) == 1928
    story.tell("2025-02-01 10:01  topup 19.27  -> T4 blocked 11.07")
    assert min_topup_minor(story.state, story.state.settled_to) == 1
    story.tell("2025-02-01 10:02  topup 0.01   -> T3 active, T4 active, balance 0.00")
    assert min_topup_minor(story.state, story.state.settled_to) == 0


PRO = tariff("Pro", "620.00", features=frozenset({"fuel"}), history_days=365)
BASIC = tariff("Basic", "310.00", history_days=30)


def test_r59_the_transition_costs_nothing() -> None:
    Story(
        tariffs=(STD, PRO),
        text="""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-02-15 12:00  look
        2025-02-15 12:00  switch Pro  -> last daily T1 2025-02-15 -11.07, sum daily 15 166.07
    """,
    )


def test_r60_at_most_two_switches_in_a_calendar_month() -> None:
    Story("""
        2025-05-10 10:00  switch Free
        2025-05-11 10:00  switch Std
        2025-05-12 10:00  switch Free  -> refused switch_limit 2025-06-01T00:00:00+03:00
        2025-06-01 00:00  switch Free
    """)


def test_r61_the_month_is_local() -> None:
    story = Story("""
        2025-05-10 10:00   switch Free
        2025-05-31 20:59Z  switch Std
        2025-05-31 20:59Z  switch Free  -> refused switch_limit
        2025-05-31 21:00Z  switch Free
    """)
    assert story.state.tariff.name == "Free"


def test_r62_refused_and_no_op_requests_do_not_count() -> None:
    story = Story("""
        2025-05-10 10:00  switch Std
        2025-05-10 10:00  switch Std
        2025-05-10 10:00  switch Free
        2025-05-10 10:01  switch Std
        2025-05-10 10:02  switch Free  -> refused switch_limit
        2025-05-10 10:02  switch Std
    """)
    assert len(story.state.switches) == 2


def test_r62_races_cannot_exceed() -> None:
    # Five requests that saw the same state: the store lets one commit; the others meet the state it left.
    story = Story("2025-05-10 10:00  switch Free")
    at = story.when("2025-05-10", "10:01")
    state, carried_out = story.state, 0
    for n in range(5):
        outcome = act(state, Switch(key=f"race:{n}", tariff="Std" if n % 2 == 0 else "Free"), at)
        carried_out += outcome.state.switches != state.switches
        state = outcome.state
    assert carried_out == 1


def test_r63_features_count_by_receipt() -> None:
    story = Story(on="Basic", tariffs=(BASIC, PRO), text="2025-03-10 12:00  switch Pro")
    switched = story.when("2025-03-10", "12:00")
    assert not has_feature(story.state, "fuel", switched - timedelta(milliseconds=1))
    assert has_feature(story.state, "fuel", switched)
    # Fixed at 11:00 but received at 12:05: the receipt decides.
    assert has_feature(story.state, "fuel", switched + timedelta(minutes=5))


def test_r64_feature_intervals_are_remembered() -> None:
    story = Story(
        on="Pro",
        tariffs=(BASIC, PRO),
        text="""
        2025-03-01 00:00  look
        2025-03-10 00:00  switch Basic
    """,
    )
    days = {n: story.when(f"2025-03-{n:02}", "00:00") for n in (1, 9, 10, 15, 19, 20, 25)}
    assert not any(has_feature(story.state, "fuel", at) for at in days.values())
    story.tell("2025-03-20 00:00  switch Pro")
    assert [n for n, at in days.items() if has_feature(story.state, "fuel", at)] == [1, 9, 20, 25]


def test_r65_a_plan_for_next_month() -> None:
    story = Story("""
        2025-03-01 10:00  topup 1000.00
        2025-03-01 10:00  connect T1
        2025-03-19 10:00  switch Free
        2025-03-19 10:01  switch Std                        -> balance 380.00
        2025-03-20 10:00  switch Free effective=2025-04-01
        2025-03-31 23:59  look
    """)
    assert story.state.tariff.name == "Std"
    story.tell("2025-04-01 00:00  look")
    assert story.state.tariff.name == "Free"
    assert story.state.history[-1].at == story.when("2025-04-01", "00:00")
    story.tell("""
        2025-04-10 10:00  switch Std
        2025-04-11 10:00  switch Free  -> refused switch_limit 2025-05-01T00:00:00+03:00
        2025-04-11 10:00  switch Free effective=2025-04-10  -> refused effective_in_the_past
        2025-04-11 10:00  switch Free effective=2025-04-20  -> refused switch_limit
    """)


def test_r65_a_plan_that_the_limit_no_longer_allows_lapses() -> None:
    story = Story("""
        2025-03-20 10:00  switch Free effective=2025-04-15
        2025-04-01 10:00  switch Free
        2025-04-02 10:00  switch Std
        2025-04-16 10:00  look
    """)
    assert story.state.tariff.name == "Std"
    assert story.state.plan is None


def test_r66_a_downgrade_hides_and_does_not_delete() -> None:
    story = Story(on="Pro", tariffs=(BASIC, PRO), text="2025-03-10 00:00  switch Basic")
    at = story.when("2025-03-20", "00:00")
    limits = history_limits(story.state, at)
    assert str(limits.shown_from) == "2025-02-18"
    assert str(limits.kept_from) == "2024-03-20"
    announced = at + timedelta(days=20)
    assert (
        history_limits(story.state, announced).kept_from == history_limits(story.state, announced).shown_from
    )
    story.tell("2025-03-25 00:00  switch Pro")
    again = history_limits(replace(story.state), story.state.settled_to)
    assert str(again.shown_from) == "2024-03-25"
