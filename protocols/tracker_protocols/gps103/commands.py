"""What a GPS103 is told: ``**,imei:IMEI,letter``, with parameters behind it.

Source: Coban "GPRS PROTOCOL" V0.1 2014-12-12 §3.1 (the letters) and §3.2 (their parameters).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tracker_protocols.model import DeviceKey
from tracker_protocols.wire.command import Command, CommandError, Commands, filled, whole

WORDS: Final = {
    "custom": "{data}",
    "positionSingle": "B",
    "positionPeriodic": "C,{period}",
    "positionStop": "D",
    "engineStop": "J",
    "engineResume": "K",
    "alarmArm": "L",
    "alarmDisarm": "M",
    "setSpeedLimit": "H,{limit}",
    "requestPhoto": "160",
}

UNIT_MAX: Final = 99  # two digits stand before the letter


def spell(device: DeviceKey, command: Command, _now: datetime) -> bytes:
    """The sentence. Raises CommandError."""
    more: dict[str, str] = {}
    if command.type == "positionPeriodic":
        more["period"] = period(whole(command, "frequency", 1, UNIT_MAX * 3600))
    if command.type == "setSpeedLimit":
        more["limit"] = f"{whole(command, 'speed', 1, 400):03}"
    complete = Command(command.type, command.attributes | more)
    return f"**,imei:{device},{filled(WORDS, complete)}".encode("ascii")


def period(seconds: int) -> str:
    """``20s``, ``05m``, ``02h``: the largest unit that says it exactly."""
    for letter, unit in (("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(seconds, unit)
        if count and not rest:
            if count > UNIT_MAX:
                break
            return f"{count:02}{letter}"
    raise CommandError(
        f"attributes.frequency: {seconds} s cannot be said; write up to {UNIT_MAX} s, or whole minutes or hours"
    )


COMMANDS: Final = Commands(tuple(WORDS), spell)
