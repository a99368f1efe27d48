"""Reading tables of I/O elements: which name an element has, and how its number becomes a value.

A table is text, one element a line, as a manual prints it: ``id bytes name reading``. The same id means
different things in different families, but seldom at the same width, so a table is keyed by both.
An id of ``25-28`` stands for four elements whose names count from 1 in place of ``#``; ``10360-10406/2`` for
every second one.

Readings: ``u`` and ``s`` are the number unsigned and signed, perhaps with ``/divisor`` or ``*factor``;
``flag`` is true or false; ``hex`` is the bytes; ``ascii`` is text; ``probe/10`` is a signed temperature of
a wired sensor, absent where the number is one of its error codes; ``later`` leaves the number to
``io_meaning``, because its meaning needs other elements of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Convert = Callable[[int], Any]
Element = tuple[str, Convert | None]
"""A name and how the unsigned number is converted (None: it is the value). No name: read later."""

Table = dict[int, Element]
Tables = dict[int, Table]
"""For each width in bytes (1, 2, 4, 8) the elements that come in it."""

WIDTHS = (1, 2, 4, 8)

PROBE_ERRORS = frozenset({850, 2000, 3000, 4000, 5000})
"""What a 1-Wire temperature element holds where there is no temperature: not ready, read error, not
connected, failed (FMB AVL ID list, Dallas Temperature 1)."""


def tables(*texts: str) -> Tables:
    """The elements of these texts; a later line stands above an earlier one of the same id and width."""
    found: Tables = {width: {} for width in WIDTHS}
    for text in texts:
        for line in text.strip().splitlines():
            ids, width, name, reading = line.split()
            for number, element_id in enumerate(_span(ids), 1):
                found[int(width)][element_id] = _element(name, number, reading, int(width))
    return found


def names(text: str) -> dict[int, tuple[str, str]]:
    """The elements of variable length: ``id name reading``."""
    rows = (line.split() for line in text.strip().splitlines())
    return {element_id: (name, reading) for ids, name, reading in rows for element_id in _span(ids)}


def _span(ids: str) -> Iterable[int]:
    span, _, step = ids.partition("/")
    first, _, last = span.partition("-")
    return range(int(first), int(last or first) + 1, int(step or 1))


def _element(name: str, number: int, reading: str, width: int) -> Element:
    if reading == "later":
        return "", None
    return name.replace("#", str(number)), _conversion(reading, width)


def _conversion(reading: str, width: int) -> Convert | None:
    match reading:
        case "u":
            return None
        case "flag":
            return bool
        case "hex":
            return lambda value: value.to_bytes(width, "big").hex()
        case "ascii":
            return lambda value: printable(value.to_bytes(width, "big"))
        case _:
            return _scaled(reading, width)


def _scaled(reading: str, width: int) -> Convert:
    kind, divided, divisor_text = reading.partition("/")
    kind, _, factor_text = kind.partition("*")
    divisor = int(divisor_text) if divided else 0
    factor = int(factor_text or 1)
    if kind == "u":
        # the bound methods of a number are the fastest functions that Python has
        return divisor.__rtruediv__ if divisor else factor.__mul__
    half, whole = 1 << (8 * width - 1), 1 << (8 * width)

    def signed(value: int) -> float:
        number = (value - whole if value >= half else value) * factor
        return number / divisor if divisor else number

    if kind == "s":
        return signed
    assert kind == "probe", reading
    return lambda value: None if value in PROBE_ERRORS else signed(value)


def printable(data: bytes) -> str | None:
    """ASCII text without its padding, or None where the bytes are not text."""
    text = data.strip(b"\x00\xff \r\n")
    return text.decode("ascii") if text and all(0x20 <= byte < 0x7F for byte in text) else None
