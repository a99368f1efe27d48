"""Reading single fields of @Track's text: numbers that may be empty, moments, motion states."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tracker_protocols.model import Attributes
from tracker_protocols.wire.fields import finite, moment

MOMENT_DIGITS: Final = 14
_MS_PER_SECOND: Final = 1000

STATES: Final[dict[bytes, tuple[bool | None, bool]]] = {
    b"11": (False, False),
    b"12": (False, True),
    b"16": (False, True),  # towed
    b"1A": (False, True),  # perhaps towed
    b"21": (True, False),
    b"22": (True, True),
    b"41": (None, False),  # no ignition signal is connected
    b"42": (None, True),
}
"""Motion states: whether the ignition is on (None: not known) and whether it moves."""


def is_moment(text: bytes) -> bool:
    """Whether this is ``YYYYMMDDHHMMSS``."""
    return len(text) == MOMENT_DIGITS and text.isdigit()


def moment_of(text: bytes) -> datetime:
    """``YYYYMMDDHHMMSS``, UTC. Raises BadFrame where there is no such moment."""
    return moment(
        int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[8:10]), int(text[10:12]), int(text[12:14])
    )


def number(text: bytes) -> float | None:
    """A decimal number; empty: not said. Raises ValueError."""
    return finite(text) if text else None


def percent(text: bytes) -> int | None:
    """A whole number 0 to 100; anything else is none."""
    return int(text) if text.isdigit() and len(text) <= 3 and int(text) <= 100 else None


def volts(text: bytes) -> float | None:
    """Millivolts (up to five digits) as volts; anything else is none."""
    return int(text) / 1000 if text.isdigit() and len(text) <= 5 else None


def kilometres(text: bytes) -> float | None:
    """A counter in km with its decimal point, in metres; anything else is none."""
    whole, point, part = text.partition(b".")
    if not point or not whole.isdigit() or not part.isdigit() or len(text) > 12:
        return None
    return round(float(text) * 1000, 1)


def hours_ms(text: bytes) -> int | None:
    """``HHHHH:MM:SS`` in milliseconds; anything else is none."""
    parts = text.split(b":")
    if len(parts) != 3 or not all(part.isdigit() and len(part) <= 7 for part in parts):
        return None
    hours, minutes, seconds = (int(part) for part in parts)
    return ((hours * 60 + minutes) * 60 + seconds) * _MS_PER_SECOND


def is_hex(text: bytes, digits: int) -> bool:
    """Whether this is a hexadecimal number of so many digits."""
    if len(text) != digits:
        return False
    try:
        int(text, 16)
    except ValueError:
        return False
    return text.isalnum()


def add_state(state: bytes, attributes: Attributes) -> bool:
    """``ignition`` and ``motion`` of a motion state; whether it is one."""
    found = STATES.get(state.upper())
    if found is None:
        return False
    ignition, moves = found
    if ignition is not None:
        attributes["ignition"] = ignition
    attributes["motion"] = moves
    return True


def finite_or_none(text: bytes) -> float | None:
    """A finite decimal number of up to twelve characters; anything else is none."""
    if not text or len(text) > 12:
        return None
    try:
        return finite(text)
    except ValueError:
        return None
