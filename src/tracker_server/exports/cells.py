"""Values as text: JSON with moments in UTC, and CSV cells that no spreadsheet takes for a formula.

A text cell that begins as a formula does is preceded by an apostrophe; numbers stay numbers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # OWASP: CSV injection
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)  # money is a decimal string, and a debit no formula


@cache
def _encoder() -> msgspec.json.Encoder:
    return msgspec.json.Encoder(enc_hook=str, decimal_format="number")


def json_bytes(value: Any) -> bytes:
    """Compact JSON; moments in UTC with ``Z``."""
    return _encoder().encode(value)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with ``Z``; fractions of a second only where there are any."""
    text = moment.astimezone(UTC).isoformat()
    return text.replace("+00:00", "Z")


class _Line:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def csv_lines() -> Callable[[Sequence[Any]], bytes]:
    """Turns cells into a line of CSV (RFC 4180, but with the line ends of this system's tools)."""
    writerow: Callable[[Sequence[Any]], str] = csv.writer(_Line()).writerow  # pyright: ignore[reportAssignmentType]
    return lambda cells: f"{writerow(cells)[:-2]}\n".encode("utf-8", "replace")


def safe_text(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) and not NUMBER.fullmatch(text) else text


def csv_cell(value: Any) -> Any:
    """A value as it stands in a cell; what has no type of its own there is JSON."""
    write = CSV_CELLS.get(type(value))
    return write(value) if write else safe_text(json_bytes(value).decode())


CSV_CELLS: dict[type, Callable[[Any], Any]] = {
    type(None): lambda _: "",
    bool: lambda value: "true" if value else "false",
    int: lambda value: value,
    float: lambda value: value,
    datetime: iso,
    str: safe_text,
}
"""How a value of a type is written into a cell; others as JSON."""
