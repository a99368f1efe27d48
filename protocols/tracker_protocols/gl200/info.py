"""Reports without a place: the tracker's own state, its SIM, its versions, the cells that it hears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tracker_protocols.gl200.fields import (
    STATES,
    add_state,
    finite_or_none,
    is_moment,
    kilometres,
    percent,
    volts,
)
from tracker_protocols.gl200.places import cell_of
from tracker_protocols.model import Attributes, Network

Fields = Sequence[bytes]
"""The fields between the unique ID and the sending time: the device's name first, in OBD models a VIN before it."""

WORN_MODELS: Final = frozenset({b"02", b"11", b"1A", b"2C", b"30"})
"""GL200, GL500 and GL300: battery percentage behind the time of the last fix."""
ANALOGUE_FIELDS_MIN, ANALOGUE_FIELDS_MAX = 3, 4  # a mode, then two or three inputs
UNKNOWN_SIGNAL: Final = b"99"
CELL_FIELDS: Final = 6
SIGNAL_OFFSET_DBM: Final = -110


def read_information(model: bytes, fields: Fields, attributes: Attributes) -> None:
    """INF: state, ICCID, signal, errors, supply, its voltage (or an odometer), reserved, battery, charging …, last fix."""
    at = next((at for at, text in enumerate(fields[:4]) if at and text.upper() in STATES), None)
    if at is None:
        return
    add_state(fields[at], attributes)
    values = [*fields[at + 1 : at + 9], *[b""] * 8]
    _iccid(values[0], attributes)
    _signal(values[1], attributes)
    metres = kilometres(values[4])
    if metres is not None:
        attributes["odometer"] = metres
    supply = volts(values[4])
    if supply is not None:
        attributes["power"] = supply
    battery = finite_or_none(values[6])
    if battery is not None:
        attributes["battery"] = battery
    if values[7] in {b"0", b"1"}:
        attributes["charge"] = values[7] == b"1"
    last_fix = next((at for at, text in enumerate(fields) if is_moment(text)), len(fields))
    _behind_last_fix(model, fields[last_fix + 1 :], attributes)


def _behind_last_fix(model: bytes, fields: Fields, attributes: Attributes) -> None:
    """The battery's percentage (GL), or a mode, the analogue inputs, digital inputs, outputs and the time zone (GV)."""
    if model in WORN_MODELS:
        level = percent(fields[0]) if fields else None
        if level is not None:
            attributes["batteryLevel"] = level
        return
    zone = next((at for at, text in enumerate(fields) if text[:1] in {b"+", b"-"}), 0)
    if not ANALOGUE_FIELDS_MIN <= zone - 2 <= ANALOGUE_FIELDS_MAX:
        return
    for name, text in enumerate(fields[1 : zone - 2], 1):
        voltage = volts(text)
        if voltage is not None:
            attributes[f"adc{name}"] = voltage


def _iccid(text: bytes, attributes: Attributes) -> None:
    if 18 <= len(text) <= 20 and text.isalnum():
        attributes["iccid"] = text.decode("latin-1")


def _signal(text: bytes, attributes: Attributes) -> None:
    if text.isdigit() and len(text) <= 2 and text != UNKNOWN_SIGNAL:
        attributes["rssi"] = int(text)


def _version(_model: bytes, fields: Fields, attributes: Attributes) -> None:
    for name, text in zip(("deviceType", "versionFw", "versionHw"), fields[1:4], strict=False):
        if text:
            attributes[name] = text.decode("latin-1")[:32]


def _sim(_model: bytes, fields: Fields, attributes: Attributes) -> None:
    _iccid(fields[-1] if fields else b"", attributes)


def _radio(_model: bytes, fields: Fields, attributes: Attributes) -> None:
    _signal(fields[-2] if len(fields) > 1 else b"", attributes)


def _supply(_model: bytes, fields: Fields, attributes: Attributes) -> None:
    """BAT: supply connected, reserved, percentage (or whether there is a battery), its voltage, charging, lamps."""
    if len(fields) < 6:
        return
    battery = finite_or_none(fields[4])
    if battery is not None:
        attributes["battery"] = battery
    if fields[5] in {b"0", b"1"}:
        attributes["charge"] = fields[5] == b"1"


def neighbours(fields: Fields) -> Network | None:
    """GSM: what the cells are told for, then six neighbours and the serving cell: country … cell, level, reserved."""
    begin = next((at for at, text in enumerate(fields[:3]) if text.isalpha() and len(text) == 3), None)
    if begin is None:
        return None
    cells = [
        cell_of(fields[at : at + 4], _level(fields[at + 4]))
        for at in range(begin + 1, len(fields) - CELL_FIELDS + 1, CELL_FIELDS)
    ]
    heard = tuple(cell for cell in reversed(cells) if cell)  # the serving cell first
    return Network(heard) if heard else None


def _level(text: bytes) -> int | None:
    """0 to 63, a decibel each."""
    return SIGNAL_OFFSET_DBM + int(text) if text.isdigit() and len(text) <= 2 else None


def _power(name: str) -> Callable[[bytes, Fields, Attributes], None]:
    def read(_model: bytes, _fields: Fields, attributes: Attributes) -> None:
        attributes["alarm"] = name

    return read


READERS: Final[dict[str, Callable[[bytes, Fields, Attributes], None]]] = {
    "INF": read_information,
    "VER": _version,
    "CID": _sim,
    "CSQ": _radio,
    "BAT": _supply,
    "PNA": _power("powerOn"),
    "PFA": _power("powerOff"),
    "PDP": lambda _model, _fields, _attributes: None,  # the connection is up
}
