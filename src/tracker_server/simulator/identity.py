"""Identifiers of simulated devices: 15 digits with the check digit of an IMEI (3GPP TS 23.003 §B, Luhn)."""

from __future__ import annotations

import hashlib

TAC_DIGITS = 8  # type allocation code: here the prefix, filled up with digits drawn from the seed
SERIAL_DIGITS = 6


def check_digit(digits: str) -> int:
    """Luhn's, for 14 digits: every second one, from the right end on, counts twice."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 if place % 2 else 2)
        total += value - 9 if value > 9 else value
    return -total % 10


def unique_id(prefix: str, seed: int, number: int) -> str:
    """The identifier of device ``number`` (from 0) of the fleet that ``prefix`` (1 to 8 digits) and ``seed`` name."""
    drawn = int.from_bytes(hashlib.sha256(f"tracker fleet {seed}".encode()).digest()[:8], "big")
    tac = prefix + f"{drawn % 10**TAC_DIGITS:0{TAC_DIGITS}d}"[: TAC_DIGITS - len(prefix)]
    digits = f"{tac}{number:0{SERIAL_DIGITS}d}"
    return f"{digits}{check_digit(digits)}"
