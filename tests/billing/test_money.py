from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker_server.model.money import EXPONENTS, InvalidValueError, currency, format_minor, parse_minor


@given(st.sampled_from(sorted(EXPONENTS)), st.integers(-(10**12) + 1, 10**12 - 1))
def test_what_is_printed_is_read_again(code: str, amount_minor: int) -> None:
    unit = currency(code)
    assert parse_minor(format_minor(amount_minor, unit), unit, "amount") == amount_minor


def test_minor_units_of_iso_4217() -> None:
    assert {code: EXPONENTS[code] for code in ("EUR", "CLP", "JPY", "KWD", "TND", "CLF", "RUB", "HUF")} == {
        "EUR": 2, "CLP": 0, "JPY": 0, "KWD": 3, "TND": 3, "CLF": 4, "RUB": 2, "HUF": 2,
    }  # fmt: skip
    assert len(EXPONENTS) == 166


@pytest.mark.parametrize(
    ("text", "minor"), [("310", 31000), ("310.5", 31050), ("0.01", 1), ("-11.07", -1107), ("007.00", 700)]
)
def test_read(text: str, minor: int) -> None:
    assert parse_minor(text, currency("RUB"), "amount") == minor


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("1.005", "EUR", "amount: '1.005' has 3 decimals, but EUR has 2"),
        ("1.0", "CLP", "CLP has 0"),
        ("1,00", "EUR", "write digits and a point"),
        ("", "EUR", "is not an amount"),
        ("1e3", "EUR", "is not an amount"),
        ("+1", "EUR", "is not an amount"),
        ("١", "EUR", "is not an amount"),
        (" 1", "EUR", "is not an amount"),
        (310.0, "EUR", "write it in quotes"),
        (None, "EUR", "write it in quotes"),
        ("1" * 13, "EUR", "too large"),
    ],
)
def test_what_cannot_be_read_is_named(text: object, code: str, says: str) -> None:
    with pytest.raises(InvalidValueError, match="amount") as error:
        parse_minor(text, currency(code), "amount")
    assert says in str(error.value)


@pytest.mark.parametrize("code", ["XXX", "eur", "", None, 978])
def test_no_such_currency(code: object) -> None:
    with pytest.raises(InvalidValueError, match=r"tariff\.currency"):
        currency(code, "tariff.currency")
