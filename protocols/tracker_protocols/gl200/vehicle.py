"""CAN and OBD: a mask says which measurements follow, each in its own place. Layouts in README.md §Vehicle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tracker_protocols.gl200.fields import finite_or_none, is_hex, volts
from tracker_protocols.model import Attributes

MASK_DIGITS: Final = (6, 8)
HECTOMETRE_M: Final = 100
_MS_PER_HOUR: Final = 3_600_000

Reader = Callable[[bytes, Attributes], None]


def read_can(fields: Sequence[bytes], attributes: Attributes) -> None:
    """Type of report, state of the CAN device, mask, and what the mask says."""
    _read_masked(fields, CAN, attributes)


def read_obd(fields: Sequence[bytes], attributes: Attributes) -> None:
    """Type of report, mask, and what the mask says."""
    _read_masked(fields, OBD, attributes)


def _read_masked(fields: Sequence[bytes], readers: Sequence[Reader | None], attributes: Attributes) -> None:
    at = next(
        (at for at, text in enumerate(fields[:6]) if len(text) in MASK_DIGITS and is_hex(text, len(text))),
        None,
    )
    if at is None:
        return
    mask = int(fields[at], 16)
    values = iter(fields[at + 1 :])
    for bit, reader in enumerate(readers):
        if mask >> bit & 1:
            value = next(values, b"")
            if reader and value:
                reader(value, attributes)


def _number(name: str) -> Reader:
    def read(text: bytes, attributes: Attributes) -> None:
        value = finite_or_none(text)
        if value is not None:
            attributes[name] = value if b"." in text else int(value)

    return read


def _counter(name: str, unit: int) -> Reader:
    def read(text: bytes, attributes: Attributes) -> None:
        value = finite_or_none(text)
        if value is not None:
            attributes[name] = round(value * unit)

    return read


def read_vin(text: bytes, attributes: Attributes) -> None:
    """A vehicle's number of seventeen letters and digits; anything else is none."""
    if len(text) == 17 and text.isalnum():
        attributes["vin"] = text.decode("latin-1")


def _key(text: bytes, attributes: Attributes) -> None:
    if text in {b"0", b"1", b"2"}:  # 1: ignition, 2: the engine runs
        attributes["ignition"] = text != b"0"


def _distance(text: bytes, attributes: Attributes) -> None:
    """``H`` counts hectometres, ``I`` the vehicle's own impulses, whose length nobody tells."""
    value = finite_or_none(text[1:])
    if value is not None and text[:1] == b"H":
        attributes["obdOdometer"] = round(value * HECTOMETRE_M)
    elif value is not None and text[:1] == b"I":
        attributes["impulses"] = int(value)


def _consumption(text: bytes, attributes: Attributes) -> None:
    """``L/H`` or ``H`` litres an hour; ``L/100`` or ``M`` litres for 100 km."""
    for mark, name in ((b"L/H", "fuelConsumption"), (b"H", "fuelConsumption"), (b"M", "fuelPer100Km")):
        if text.startswith(mark):
            value = finite_or_none(text[len(mark) :])
            if value is not None:
                attributes[name] = value
            return


def _level(text: bytes, attributes: Attributes) -> None:
    """``P`` percent, ``L`` litres."""
    value = finite_or_none(text[1:])
    name = {b"P": "fuelLevel", b"L": "fuel"}.get(text[:1])
    if name and value is not None:
        attributes[name] = value


def _bits(name: str) -> Reader:
    def read(text: bytes, attributes: Attributes) -> None:
        if is_hex(text, len(text)) and len(text) <= 4:
            attributes[name] = int(text, 16)

    return read


def _supply(text: bytes, attributes: Attributes) -> None:
    voltage = volts(text)
    if voltage is not None:
        attributes["power"] = voltage


CAN: Final[tuple[Reader | None, ...]] = (
    read_vin,
    _key,
    _distance,
    _number("fuelUsed"),
    _number("rpm"),
    _number("obdSpeed"),
    _number("coolantTemp"),
    _consumption,
    _level,
    _counter("range", HECTOMETRE_M),
    _number("throttle"),
    _counter("hours", _MS_PER_HOUR),
    _number("drivingTime"),
    _number("idleHours"),
    _number("idleFuelConsumption"),
    _number("axleWeight"),
    _bits("tachographInfo"),
    _bits("indicators"),
    _bits("lights"),
    _bits("doors"),
)
"""By the bit of the mask."""

OBD: Final[tuple[Reader | None, ...]] = (
    read_vin,
    None,  # connected
    _supply,
    None,  # which measurements the vehicle knows
    _number("rpm"),
    _number("obdSpeed"),
    _number("coolantTemp"),
)
"""By the bit of the mask; what follows is not read, see README.md."""
