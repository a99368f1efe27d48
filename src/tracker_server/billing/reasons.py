"""Why a command was refused: the words that the API, the command line and the page translate."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """One word for each refusal."""

    ALREADY_CONNECTED = "already_connected"
    ALREADY_SETTLED = "already_settled"
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    BACK_PAY_NOT_OFFERED = "back_pay_not_offered"
    CONTRACT_ENDED = "contract_ended"
    EFFECTIVE_IN_THE_PAST = "effective_in_the_past"
    ID_REUSED = "id_reused"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    MONTHS_OUT_OF_RANGE = "months_out_of_range"
    NOT_A_TERM_TARIFF = "not_a_term_tariff"
    NOT_A_TEST_DEVICE = "not_a_test_device"
    NOT_SUSPENDED = "not_suspended"
    NOTHING_TO_REFUND = "nothing_to_refund"
    NOTHING_UNPAID = "nothing_unpaid"
    OVER_THE_PAYMENT = "over_the_payment"
    SUSPENDED = "suspended"
    SUSPENSION_LIMIT = "suspension_limit"
    SWITCH_LIMIT = "switch_limit"
    TEST_DEVICE = "test_device"
    TEST_DEVICE_EXISTS = "test_device_exists"
    TEST_EXPIRED = "test_expired"
    UNBALANCED = "unbalanced"
    UNKNOWN_DEVICE = "unknown_device"
    UNKNOWN_PAYMENT = "unknown_payment"
    UNKNOWN_SMS = "unknown_sms"
    UNKNOWN_TARIFF = "unknown_tariff"
    WITHDRAWAL_PERIOD_OVER = "withdrawal_period_over"
    WRONG_ACCOUNT = "wrong_account"
    WRONG_CURRENCY = "wrong_currency"
