"""Alarm codes, and the names this field has for them.

Codes: JM-VL03 1.1.2 §5 and GT06 1.8.1 §5.3; those of other makers by README.md, "Alarms". A code that has
no name here is kept as ``event`` alone.
"""

from __future__ import annotations

from typing import Final

from tracker_protocols.model import Attributes

STATUS_ALARMS: Final[dict[int, str]] = {
    1: "vibration",
    2: "powerCut",
    3: "lowBattery",
    4: "sos",
    6: "geofence",
    7: "removing",
}
"""Bits 3 to 5 of the terminal information byte."""

CODES: Final[dict[int, str]] = {
    0x01: "sos",
    0x02: "powerCut",
    0x03: "vibration",
    0x04: "geofenceEnter",
    0x05: "geofenceExit",
    0x06: "overspeed",
    0x09: "vibration",
    0x0C: "tampering",
    0x0E: "lowPower",
    0x0F: "lowPower",
    0x11: "powerOff",
    0x13: "tampering",
    0x14: "door",
    0x15: "powerOff",
    0x18: "removing",
    0x19: "lowBattery",
    0x1A: "hardBraking",
    0x1B: "hardCornering",
    0x23: "fallDown",
    0x25: "tampering",
    0x26: "hardAcceleration",
    0x27: "hardBraking",
    0x28: "hardBraking",
    0x29: "hardAcceleration",
    0x2A: "hardCornering",
    0x2B: "hardCornering",
    0x2C: "accident",
    0x2E: "hardCornering",
    0x30: "hardBraking",
    0x32: "tampering",
    0x33: "lock",
    0x34: "unlock",
    0x53: "fuelLeak",
    0x5B: "temperature",
    0x5C: "temperature",
    0xC9: "idle",
    0x0107: "jamming",
    0x010B: "jamming",
}
"""What most makers mean. Codes above 0xFF take four bits from the language byte (0x27, 0xA4, 0x39)."""

VL_CODES: Final[dict[int, str]] = CODES | {0x09: "tow", 0x28: "powerOff"}
"""VL103 and its sisters, known by an LBS length of 8."""

SEEWORLD_CODES: Final[dict[int, str]] = CODES | {0x28: "hardCornering", 0x29: "accident"}
LW_CODES: Final[dict[int, str]] = CODES | {0x18: "accident", 0x19: "hardAcceleration"}

IGNITION_CODES: Final[dict[int, bool]] = {0xFE: True, 0xFF: False}

EVENTS: Final[dict[int, str]] = {
    0x01: "sos",
    0x0E: "lowPower",
    0x47: "fatigueDriving",
    0x51: "door",
    0x53: "fuelLeak",
    0x76: "temperature",
    0x80: "vibration",
    0x87: "overspeed",
    0x88: "powerCut",
    0x8C: "fatigueDriving",
    0x90: "hardAcceleration",
    0x91: "hardBraking",
    0x92: "hardCornering",
    0x93: "accident",
}
"""Events of the JC dash cameras (kind 0x95)."""

MODULE_EVENTS: Final[dict[int, str]] = {
    0x10: "door",
    0x12: "removing",
    0x14: "geofenceEnter",
    0x15: "geofenceExit",
    0x16: "temperature",
    0x1A: "lowBattery",
    0x1B: "overspeed",
    0x1C: "powerOn",
    0x1D: "powerOff",
    0x20: "vibration",
    0x21: "powerCut",
    0x23: "tampering",
}
"""Events of the modular frames (kind 0x70, module 0x34)."""


def add_alarm(attributes: Attributes, name: str | None) -> None:
    """Add one more alarm; several are joined by commas, in the frame's order."""
    if name:
        known = attributes.get("alarm")
        attributes["alarm"] = f"{known},{name}" if known else name


def add_alarm_code(attributes: Attributes, code: int, codes: dict[int, str] = CODES) -> None:
    """What an alarm byte says: an alarm, the ignition's change, or an event without a name."""
    if not code:
        return
    attributes["event"] = code
    if code in IGNITION_CODES:
        attributes["ignition"] = IGNITION_CODES[code]
    else:
        add_alarm(attributes, codes.get(code))
