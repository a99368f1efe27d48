"""The keyword behind the IMEI: why the report is sent, or which command it answers.

Source: Coban "GPRS PROTOCOL" V0.1 2014-12-12 §3.1, §4.3; the last group of alarms from later firmware.
"""

from __future__ import annotations

from typing import Final

from tracker_protocols.model import Attributes

ALARMS: Final = {
    "help me": "sos",
    "low battery": "lowBattery",
    "move": "movement",
    "speed": "overspeed",
    "stockade": "geofence",  # does not tell which way
    "ac alarm": "powerCut",
    "door alarm": "door",
    "sensor alarm": "vibration",
    "acc alarm": "illegalIgnition",  # ignition on while armed
    "accident alarm": "accident",
    "bonnet alarm": "bonnet",
    "footbrake alarm": "footBrake",
    "dtc": "fault",
    "service": "maintenance",
    # later firmware
    "collision": "accident",
    "brake": "hardBraking",
    "brake alarm": "hardBraking",
    "accelerate": "hardAcceleration",
    "sharp turn": "hardCornering",
    "tow": "tow",
    "tow alarm": "tow",
    "remove alarm": "tampering",
    "pull alarm": "tampering",
    "tamper": "tampering",
    "fatigue alarm": "fatigueDriving",
    "illegal ignition alarm": "illegalIgnition",
}

STATES: Final[dict[str, tuple[str, bool]]] = {
    "acc on": ("ignition", True),
    "acc off": ("ignition", False),
    # what a carried-out command has changed, by the manual's letters and by its older numbers
    "jt": ("blocked", True),
    "109": ("blocked", True),
    "kt": ("blocked", False),
    "110": ("blocked", False),
    "lt": ("armed", True),
    "lf": ("armed", True),
    "111": ("armed", True),
    "mt": ("armed", False),
    "112": ("armed", False),
}

LOCATIONS: Final = frozenset({"", "tracker"})  # nothing but a position
_LOCATION_NUMBERS: Final = frozenset({"101", "103"})  # one of a series, by time or by distance


def is_answer(keyword: str) -> bool:
    """Whether it confirms a command: its letter and ``t``, or its number from 102 on."""
    if len(keyword) == 2:
        return keyword[0].isalpha() and keyword[1] == "t"
    return len(keyword) == 3 and keyword.isdigit() and keyword[0] == "1" and keyword not in _LOCATION_NUMBERS


def keyword_attributes(keyword: str) -> Attributes:
    """What a keyword in lower case says. ``event`` is the keyword itself where no other name is had for it."""
    if keyword in LOCATIONS:
        return {}
    attributes: Attributes = {}
    alarm = ALARMS.get(keyword)
    state = STATES.get(keyword)
    if alarm:
        attributes["alarm"] = alarm
    elif state:
        name, value = state
        attributes[name] = value
    elif keyword.startswith("t:"):
        attributes["alarm"] = "temperature"
        _measure(attributes, "temp1", keyword[2:])
    elif keyword.startswith("oil"):
        attributes["alarm"] = "fuelLeak"
        if keyword[3:4] == " ":  # "oil 45.5": what is left; "oil1" and "oil2" name the tank
            _measure(attributes, "fuelLevel", keyword[4:].rstrip("%"))
    else:
        attributes["event"] = keyword[:64]
    return attributes


def _measure(attributes: Attributes, name: str, text: str) -> None:
    """Add a number; what is none, or is nowhere near a temperature or a percentage, is not said."""
    try:
        value = float(text)
    except ValueError:
        return
    if -1000 < value < 1000:
        attributes[name] = value
