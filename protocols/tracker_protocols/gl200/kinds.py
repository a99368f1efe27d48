"""What the kinds of report with a place say before it: alarms, ignition, inputs. README.md has them as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from tracker_protocols.gl200.fields import STATES, add_state, finite_or_none, percent, volts
from tracker_protocols.model import Attributes

Prefix = Sequence[bytes]
"""The fields between the unique ID and the accuracy; the last ones have fixed meanings, a VIN may come first."""

ALARMS: Final = {
    "SOS": "sos",
    "TOW": "tow",
    "SPD": "overspeed",
    "IDN": "idle",
    "TMP": "temperature",
    "JDR": "jamming",
    "BPL": "lowBattery",
    "EPS": "lowPower",
    "MPF": "powerCut",
    "EPF": "powerCut",
    "MPN": "powerRestored",
    "EPN": "powerRestored",
    "PFA": "powerOff",
    "PNA": "powerOn",
    "CRA": "accident",
    "FLA": "fuelLeak",
    "SOA": "tampering",
    "LGL": "fallDown",
    "SWG": "geofence",
    "GIN": "geofenceEnter",
    "GOT": "geofenceExit",
}
IGNITION: Final = {"IGN": True, "VGN": True, "IGF": False, "VGF": False}
CHARGE: Final = {"BTC": True, "STC": False}
HARSH: Final = {
    "0": "hardBraking",
    "1": "hardAcceleration",
    "2": "hardCornering",
    "3": "hardBraking,hardCornering",
    "4": "hardAcceleration,hardCornering",
}
_IDENTIFIED = "FRI ERI TOW DIS IOB GEO SPD SOS RTL DOG IGL VGL HBM EPS AIS MAI PNL PFL NMR GIN GOT"
IDENTIFIED: Final = frozenset(_IDENTIFIED.split())
"""Kinds with a report ID and a report type before the number of positions."""
IDENTIFIED_SIZE: Final = 3  # ID, type and number; or the external supply, ID with type, and number


def identity(prefix: Prefix) -> tuple[str, str, bytes]:
    """Report ID, report type and the field before them: two fields in GL trackers, two digits of one in GV trackers."""
    if is_two_fields(prefix):
        return prefix[-3].decode("latin-1"), prefix[-2].decode("latin-1"), b""
    both = prefix[-2].decode("latin-1")
    return both[:1], both[1:], prefix[-3]


def is_two_fields(prefix: Prefix) -> bool:
    """Whether this is the form of the GL trackers."""
    return len(prefix) >= IDENTIFIED_SIZE and len(prefix[-2]) == 1


def read_prefix(kind: str, prefix: Prefix, attributes: Attributes) -> None:
    """Add what the kind and the fields before its place say."""
    alarm = ALARMS.get(kind)
    if alarm:
        attributes["alarm"] = alarm
    ignition = IGNITION.get(kind)
    if ignition is not None:
        attributes["ignition"] = ignition
    charge = CHARGE.get(kind)
    if charge is not None:
        attributes["charge"] = charge
    if kind in IDENTIFIED and len(prefix) >= IDENTIFIED_SIZE:
        _read_identified(kind, prefix, attributes)
    reader = READERS.get(kind)
    if reader and prefix:
        reader(prefix, attributes)


def _read_identified(kind: str, prefix: Prefix, attributes: Attributes) -> None:
    number, form, before = identity(prefix)
    match kind:
        case "FRI" | "ERI" | "EPS":
            power = volts(before)
            if power is not None:
                attributes["power"] = power
        case "AIS" | "MAI":
            voltage = volts(before)
            if voltage is not None and number.isdigit():
                attributes[f"adc{number}"] = voltage
        case "GEO":
            attributes["geofence"] = number
            attributes["alarm"] = {"0": "geofenceExit", "1": "geofenceEnter"}.get(form, "geofence")
        case "HBM":
            attributes["alarm"] = HARSH.get(form, "general")
        case "IGL" | "VGL" if form in {"0", "1"}:
            attributes["ignition"] = form == "0"  # manual: 0 is on
        case "NMR" if form in {"0", "1"}:
            attributes["motion"] = form == "1"
        case "DIS" if number.isdigit() and form in {"0", "1"}:
            attributes[f"in{number}"] = form == "1"
        case _:
            pass
    if kind not in {"FRI", "ERI", "RTL"}:
        attributes["event"] = number + form


def _state(prefix: Prefix, attributes: Attributes) -> None:
    add_state(prefix[-1], attributes)
    ignition, moves = STATES.get(prefix[-1], (True, False))
    if moves and not ignition:
        attributes["alarm"] = "movement"


def _idle_end(prefix: Prefix, attributes: Attributes) -> None:
    if len(prefix) > 1:
        add_state(prefix[-2], attributes)


def _battery_low(prefix: Prefix, attributes: Attributes) -> None:
    voltage = finite_or_none(prefix[-1])
    if voltage is not None:
        attributes["battery"] = voltage


def _temperature(prefix: Prefix, attributes: Attributes) -> None:
    """Type of the alarm (1 too low, 2 in range again, 3 too high) and the tracker's own temperature."""
    degrees = finite_or_none(prefix[-1])
    if degrees is not None:
        attributes["deviceTemp"] = degrees
    if len(prefix) > 1 and prefix[-2] in {b"1", b"3"}:
        attributes["alarm"] = "temperature"


def _jamming(prefix: Prefix, attributes: Attributes) -> None:
    if prefix[-1] == b"2":  # 1: it is over
        attributes["alarm"] = "jamming"


def _antenna(prefix: Prefix, attributes: Attributes) -> None:
    if prefix[-1] == b"1":  # 0: it works
        attributes["alarm"] = "gpsAntennaCut"


def _switch(name: str) -> Callable[[Prefix, Attributes], None]:
    def read(prefix: Prefix, attributes: Attributes) -> None:
        if prefix[-1] in {b"0", b"1"}:
            attributes[name] = prefix[-1] == b"1"

    return read


def _driver(prefix: Prefix, attributes: Attributes) -> None:
    """Name, reserved, the number of the card, whether it is authorised, number of positions."""
    if len(prefix) >= 3 and prefix[-3]:
        attributes["driverUniqueId"] = prefix[-3].decode("latin-1")[:64]


def _caller(prefix: Prefix, attributes: Attributes) -> None:
    if prefix[-1]:
        attributes["caller"] = prefix[-1].decode("latin-1")[:32]


def _worn(prefix: Prefix, attributes: Attributes) -> None:
    """GL500, GL505: temperature and battery stand before the place; the trackers of vehicles have nothing there."""
    if len(prefix) < 6:
        return
    level = percent(prefix[-1])
    if level is not None:
        attributes["batteryLevel"] = level
    with suppress(ValueError):
        if b"." in prefix[-2]:
            attributes["deviceTemp"] = float(prefix[-2])


READERS: Final[dict[str, Callable[[Prefix, Attributes], None]]] = {
    "STT": _state,
    "IDF": _idle_end,
    "BPL": _battery_low,
    "TEM": _temperature,
    "JDS": _jamming,
    "ANT": _antenna,
    "LSW": _switch("in1"),
    "TSW": _switch("in2"),
    "IDA": _driver,
    "LBC": _caller,
    "CTN": _worn,
    "STR": _worn,
}

PLACED: Final = IDENTIFIED | ALARMS.keys() | IGNITION.keys() | CHARGE.keys() | READERS.keys()
"""Kinds that are known to have a place; their empty ones are told by their shape."""
