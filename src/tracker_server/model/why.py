"""Why a value was refused, as a word that is translated: beside the sentence in English, for those who read another language."""

from __future__ import annotations

from enum import StrEnum


class Why(StrEnum):
    """One word for each refusal that a person meets in a form. What it was about stands in its values."""

    AMOUNT = "amount"
    AMOUNT_SHORT = "amount_short"
    CODE = "code"
    DATE = "date"
    EMAIL = "email"
    EMAIL_TAKEN = "email_taken"
    EXISTS = "exists"
    IDENTIFIER = "identifier"
    LAST_ADMIN = "last_admin"
    LINK_USED = "link_used"
    MESSENGER = "messenger"
    MISSING = "missing"
    MOMENT_OVER = "moment_over"
    NAME_TAKEN = "name_taken"
    NOT_ABOVE_ZERO = "not_above_zero"
    NOT_FOUND = "not_found"
    NOT_SET_UP = "not_set_up"
    NO_COMMAND = "no_command"
    NO_PHONE = "no_phone"
    NUMBER_GREAT = "number_great"
    NUMBER_SMALL = "number_small"
    PASSWORD_LONG = "password_long"  # noqa: S105  (a word)
    PASSWORD_SHORT = "password_short"  # noqa: S105
    PERIOD_LONG = "period_long"
    PERIOD_REVERSED = "period_reversed"
    PHONE = "phone"
    SHARE_DAYS = "share_days"
    TEST_DEVICE_EXISTS = "test_device_exists"
    TEXT_LONG = "text_long"
    TEXT_SHORT = "text_short"
    TOO_MANY_ROWS = "too_many_rows"
    TRACKER_TAKEN = "tracker_taken"
    UNSTORABLE = "unstorable"
    URL = "url"
    USERS_MAX = "users_max"
