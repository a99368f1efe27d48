"""Reading money as people type it: amounts, dates, currencies, keys. What cannot be meant is refused by the flag's name."""

from __future__ import annotations

import contextlib
import re
from datetime import date

from tracker_server.cli.common import wrong
from tracker_server.cli.values import line_of_text
from tracker_server.model.money import InvalidValueError, currency, format_minor, parse_minor

KEY_CHARACTERS_MAX = 200
DAYS_MAX = 366
TERM_MONTHS_LONGEST = 12


def amount_of(flag: str, text: str, code: str) -> int:
    """Minor units of a decimal string in a currency, never negative; or exit 2."""
    try:
        amount_minor = parse_minor(text.strip(), currency(code), flag)
    except InvalidValueError as error:
        wrong(str(error))
    if amount_minor < 0:
        wrong(f"{flag}: {text!r} is below zero; write the amount without a sign")
    return amount_minor


def check_amount(flag: str, text: str) -> None:
    """What can be known wrong of an amount before its currency is known; or exit 2."""
    if not re.fullmatch(r"[0-9]{1,18}(\.[0-9]{1,4})?", text.strip(), re.ASCII):
        wrong(f"{flag}: {text!r} is not an amount; write digits and a point, such as 310.00")


def written(amount_minor: int, code: str) -> str:
    """``"310.00 RUB"``."""
    return f"{format_minor(amount_minor, currency(code))} {code}"


def date_of(flag: str, text: str) -> date:
    """A calendar date, or exit 2."""
    found: date | None = None
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip(), re.ASCII):
        with contextlib.suppress(ValueError):
            found = date.fromisoformat(text.strip())
    if found is None:
        wrong(f"{flag}: {text!r} is no date; write one such as 2026-01-31")
    return found


def currency_of(flag: str, text: str) -> str:
    """An ISO 4217 code, or exit 2."""
    try:
        return currency(text, flag).code
    except InvalidValueError as error:
        wrong(str(error))


def zone_of(flag: str, text: str) -> str:
    """An IANA zone's name, or exit 2."""
    from tracker_server.config import ConfigError, check_zone

    try:
        check_zone(flag, text)
    except ConfigError as error:
        wrong(str(error))
    return text


def key_of(flag: str, text: str | None) -> str:
    """A key under which a command is carried out once; empty where none is given; or exit 2."""
    return "" if text is None else line_of_text(flag, text, KEY_CHARACTERS_MAX)


def count_of(flag: str, text: str, highest: int, what: str) -> int:
    """A whole number from 1 to ``highest``, or exit 2."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip(), re.ASCII) or not 1 <= int(text) <= highest:
        wrong(f"{flag}: {text!r} is no number of {what}; write a whole number from 1 to {highest}")
    return int(text)
