"""SMS, refunds, test trackers: rules R67 to R87."""

from __future__ import annotations

from msgspec.structs import replace

from tests.billing.stories import STD, Story, tariff
from tracker_server.billing.sms import segments
from tracker_server.billing.state import Settings, SmsUnit, WithdrawalAmount

CYRILLIC_71 = "щ" * 71


def test_r67_an_sms_alert_debits_at_sending() -> None:
    Story("""
        2025-01-01 10:00  topup 500.00
        2025-01-01 10:00  sms  -> sms, last sms -5.00, balance 495.00
    """)


def test_r68_not_enough_becomes_an_email() -> None:
    Story("""
        2025-01-01 10:00  topup 4.99
        2025-01-01 10:00  sms  -> email, balance 4.99, entries 1
    """)


def test_r69_exactly_enough() -> None:
    Story("""
        2025-01-01 10:00  topup 5.00
        2025-01-01 10:00  sms  -> sms, balance 0.00
    """)


def test_r70_two_alerts_at_once() -> None:
    Story("""
        2025-01-01 10:00  topup 5.00
        2025-01-01 10:00  sms key=a  -> sms, balance 0.00
        2025-01-01 10:00  sms key=b  -> email, balance 0.00
    """)


def test_r71_provider_failure() -> None:
    story = Story("""
        2025-01-01 10:00  topup 5.00
        2025-01-01 10:00  sms key=a         -> sms, balance 0.00
        2025-01-01 10:01  sms key=a         -> again, balance 0.00
        2025-01-01 10:02  sms key=a         -> again, balance 0.00
        2025-01-01 10:03  sms_failed a      -> email, last reversal 5.00, balance 5.00
        2025-01-01 10:04  sms_failed a      -> email, balance 5.00
        2025-01-01 10:05  sms key=a         -> again, balance 5.00
        2025-01-01 10:06  sms_failed other  -> refused unknown_sms
    """)
    assert story.debits("sms") == ["5.00"]


def test_r71_a_reversal_unlocks_like_any_money() -> None:
    Story(
        tariffs=(tariff("Std", "310.00", sms="15.00"),),
        text="""
        2025-01-01 10:00  topup 330.00
        2025-01-01 10:00  connect T1      -> balance 20.00
        2025-01-31 10:00  sms T1 key=a    -> balance 5.00
        2025-02-01 10:00  look            -> T1 blocked 11.07
        2025-02-01 10:30  sms_failed a    -> T1 active, balance 8.93
    """,
    )


def test_r72_system_notices_are_never_debited() -> None:
    story = Story("2025-01-01 10:00  topup 500.00")
    for n in range(10):
        story.tell(f"2025-01-01 10:00  sms system key=dunning:{n}  -> sms, balance 500.00")


def test_r73_segments() -> None:
    assert [segments(text) for text in ("a" * 160, "a" * 161, "щ" * 70, CYRILLIC_71, "€" * 80, "€" * 81)] == [
        1, 2, 1, 2, 1, 2,
    ]  # fmt: skip
    assert segments("щ" * 66 + "🚗" + "щ" * 66) == 3  # a surrogate pair is not cut in two
    for unit, balance in ((SmsUnit.MESSAGE, "15.00"), (SmsUnit.SEGMENT, "10.00")):
        Story(
            settings=Settings(sms_unit=unit),
            text=f"""
                2025-01-01 10:00  topup 20.00
                2025-01-01 10:00  sms text={CYRILLIC_71}  -> sms, balance {balance}
            """,
        )


def test_r74_an_sms_may_cause_the_next_block() -> None:
    for reserve_days, delivery, balance, then in (
        (0, "sms", "7.00", "blocked 10.00"),
        (1, "email", "12.00", "active"),
    ):
        Story(
            tariffs=(tariff("Std", "310.00"),),
            settings=Settings(reserve_days=reserve_days),
            text=f"""
                2025-02-01 10:00  topup 332.00
                2025-02-01 10:00  connect T1  -> balance 22.00
                2025-03-04 10:00  look        -> T1 active, balance 12.00
                2025-03-04 20:00  sms T1      -> {delivery}, balance {balance}
                2025-03-05 00:00  look        -> T1 {then}
            """,
        )


def test_r75_no_email_address() -> None:
    Story("2025-01-01 10:00  sms no-email  -> in_app, balance 0.00")


def test_r76_unused_funds_come_back() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-01-01 10:00  connect T2
        2025-01-20 10:00  refund all  -> last refund -380.00, balance 0.00
        2025-02-01 10:00  look        -> T1 blocked 11.07, T2 blocked 11.07
        2025-02-01 10:00  refund all  -> refused nothing_to_refund
    """)


def test_r77_never_more_than_unused() -> None:
    Story("""
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-01-01 10:00  connect T2
        2025-01-20 10:00  refund 400.00  -> refused insufficient_funds, balance 380.00
    """)


def test_r78_withdrawal_within_14_days() -> None:
    conclude = """
        2025-03-03 15:00  topup 1000.00
        2025-03-03 15:00  connect T1  -> balance 690.00
    """
    in_time = Story(conclude).tell(
        "2025-03-17 23:59:59  withdraw  -> last refund -1000.00, balance 0.00, T1 unknown"
    )
    assert in_time.state.withdrawn_at is not None
    in_time.tell("2025-03-18 10:00  connect T1  -> refused contract_ended")
    Story(conclude).tell("""
        2025-03-18 00:00  withdraw    -> refused withdrawal_period_over, balance 690.00
        2025-03-18 00:00  refund all  -> balance 0.00
    """)


def test_r79_the_statement_is_kept() -> None:
    story = Story("2025-03-03 15:00  topup 310.00")
    story.tell("2025-03-04 10:00  withdraw 'statement=I withdraw from the contract.'")
    kept = next(fact for fact in story.journal if type(fact).__name__ == "Withdrawn")
    assert getattr(kept, "statement", None) == "I withdraw from the contract."
    assert kept.at == story.when("2025-03-04", "10:00")


def test_r80_by_the_means_used_to_pay() -> None:
    story = Story("""
        2025-01-01 10:00  topup 300.00 key=a means=card-A
        2025-01-02 10:00  topup 200.00 key=b means=card-B
        2025-01-03 10:00  refund 350.00  -> balance 150.00
    """)
    parts = story.entries[-1].transfer.parts
    means = [(story.state.payments[part.payment].means, part.amount_minor) for part in parts]
    assert means == [("card-B", 20000), ("card-A", 15000)]
    story.tell("2025-01-04 10:00  refund all  -> balance 0.00")
    assert [payment.returnable_minor for payment in story.state.payments.values()] == [0, 0]


def test_r81_full_or_proportionate() -> None:
    for amount, refunded in ((WithdrawalAmount.FULL, "310.00"), (WithdrawalAmount.PROPORTIONATE, "210.00")):
        Story(
            settings=Settings(withdrawal_amount=amount),
            text=f"""
                2025-03-01 10:00  topup 310.00
                2025-03-01 10:00  connect T1
                2025-03-10 10:00  withdraw  -> last refund -{refunded}, balance 0.00, owes 0.00
            """,
        )


def test_r82_refunds_are_idempotent_and_serial_with_debits() -> None:
    Story("""
        2025-01-01 10:00  topup 321.07
        2025-01-01 10:00  connect T1
        2025-01-31 10:00  refund 5.00 key=r    -> balance 6.07
        2025-01-31 10:00  refund 5.00 key=r    -> again, balance 6.07
    """)
    story = Story("""
        2025-01-01 00:00  topup 321.07
        2025-01-01 00:00  connect T1
        2025-01-31 23:59:59.9  refund all  -> last refund -11.07
        2025-02-01 00:00       look        -> T1 blocked 11.07, balance 0.00
    """)
    assert story.debits("daily") == []


def test_r83_a_test_tracker_is_not_charged_and_not_blocked() -> None:
    Story("""
        2025-01-01 10:00  connect X test  -> X active
        2025-02-10 10:00  look            -> X active, entries 0
    """)


def test_r84_converting_debits_the_connection_fee() -> None:
    Story("""
        2025-03-01 10:00  topup 310.00
        2025-03-01 10:00  connect X test
        2025-03-03 12:00  convert X  -> last connection -310.00, X until 2025-04-03 12:00
        2025-03-03 12:00  convert X  -> refused not_a_test_device
    """)


def test_r85_one_test_tracker_for_an_account() -> None:
    Story("""
        2025-03-01 10:00  connect X test
        2025-03-01 10:00  connect X2 test  -> refused test_device_exists
    """)


def test_r87_the_abuse_limit() -> None:
    Story(
        settings=Settings(test_days_max=7),
        text="""
        2025-03-01 10:00  topup 310.00
        2025-03-01 10:00  connect X test
        2025-03-07 23:59  look      -> X active
        2025-03-08 00:00  look      -> X test_expired
        2025-03-08 10:00  activate X  -> refused test_expired
        2025-03-09 10:00  convert X   -> X active, balance 0.00
    """,
    )


def test_the_sms_of_a_month_are_limited_where_the_tariff_says_so() -> None:
    """In the account's own month; one that the provider could not deliver does not count; beyond it e-mails go."""
    few = replace(STD, sms_max=2)
    Story(
        tariffs=(few,),
        text="""
        2025-01-31 10:00     topup 100.00
        2025-01-31 10:00     sms key=a     -> sms, balance 95.00
        2025-01-31 10:01     sms_failed a  -> balance 100.00
        2025-01-31 10:02     sms key=b     -> sms
        2025-01-31 10:03     sms key=c     -> sms, balance 90.00
        2025-01-31 23:59:59  sms key=d     -> email, balance 90.00
        2025-02-01 00:00     sms key=e     -> sms, balance 85.00
    """,
    )
    none = replace(few, sms_max=1, prices=(replace(STD.prices[0], sms_minor=0),))
    Story(tariffs=(none,), text="2025-01-31 10:00 sms -> sms\n2025-01-31 10:01 sms -> email, entries 0")
