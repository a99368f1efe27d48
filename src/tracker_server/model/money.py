"""Money: integers of a currency's smallest unit, read from and written as decimal strings.

No float comes near an amount: ``0.1 + 0.2`` has no place in a ledger. How many decimals a currency has
is ISO 4217's table of minor units (list one, as amended to 2024).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from tracker_server.model.why import Why

# Digits before the point. Keeps every sum of a ledger within the 64 bits of a database's bigint.
WHOLE_DIGITS_MAX: Final = 12

_TWO_DECIMALS: Final = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD
HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT
MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR
SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU
UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_NO_DECIMALS: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DECIMALS: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DECIMALS: Final = "CLF UYW"

EXPONENTS: Final[dict[str, int]] = {
    code: exponent
    for exponent, codes in (
        (2, _TWO_DECIMALS),
        (0, _NO_DECIMALS),
        (3, _THREE_DECIMALS),
        (4, _FOUR_DECIMALS),
    )
    for code in codes.split()
}

_DECIMAL: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?", re.ASCII)


class InvalidValueError(ValueError):
    """A value from outside that cannot be used: says which field, what is wrong, and the cure."""

    def __init__(self, field: str, problem: str, why: Why | None = None) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.why = why


class Currency(msgspec.Struct, frozen=True):
    """An ISO 4217 currency: ``code`` and how many decimals its amounts have."""

    code: str
    exponent: int


def currency(code: object, field: str = "currency") -> Currency:
    """The currency with this code, or an error that names ``field``."""
    if not isinstance(code, str) or code not in EXPONENTS:
        raise InvalidValueError(
            field, f"{code!r} is not an ISO 4217 currency; write a code such as EUR, CLP or KWD"
        )
    return Currency(code, EXPONENTS[code])


def parse_minor(text: object, unit: Currency, field: str) -> int:
    """Minor units of a decimal string: ``"11.07"`` in EUR is 1107. Fewer decimals than the currency has
    are filled up, more are an error: rounding is a decision that the reader of a number cannot take.
    """
    if not isinstance(text, str):
        raise InvalidValueError(
            field, f'{text!r} is not an amount; write it in quotes, such as "310.00"', Why.AMOUNT
        )
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise InvalidValueError(
            field, f'{text[:40]!r} is not an amount; write digits and a point, such as "310.00"', Why.AMOUNT
        )
    sign, whole, fraction = found[1], found[2], found[3] or ""
    if len(fraction) > unit.exponent:
        raise InvalidValueError(
            field,
            f"{text[:40]!r} has {len(fraction)} decimals, but {unit.code} has {unit.exponent}; round it as you mean it",
            Why.AMOUNT,
        )
    whole = whole.lstrip("0") or "0"  # Python reads no more than 4,300 digits, zeros or not
    if len(whole) > WHOLE_DIGITS_MAX:
        raise InvalidValueError(
            field,
            f"{text[:40]!r} is too large; at most {WHOLE_DIGITS_MAX} digits may stand before the point",
            Why.AMOUNT,
        )
    amount_minor = int(whole + fraction.ljust(unit.exponent, "0"))
    return -amount_minor if sign else amount_minor


def format_minor(amount_minor: int, unit: Currency) -> str:
    """The decimal string of minor units, with all the currency's decimals: ``"-11.07"``."""
    sign = "-" if amount_minor < 0 else ""
    digits = str(abs(amount_minor)).rjust(unit.exponent + 1, "0")
    if unit.exponent == 0:
        return sign + digits
    return f"{sign}{digits[: -unit.exponent]}.{digits[-unit.exponent :]}"
