"""What a Queclink is told: ``AT+GTxxx=password,…,serial$``; it confirms with ``+ACK:GTxxx`` and the serial number.

Sources: Queclink @Track Air Interface Protocol GL300 1.02 §3.2.11 (GTRTO), GV200 5.01 and GV300 0.7 §Digital output (GTOUT).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from tracker_protocols.model import DeviceKey
from tracker_protocols.wire.command import CUSTOM, Command, CommandError, Commands, read

SERIAL: Final = "FFFF"
PASSWORD_FORM = re.compile(r"[0-9A-Za-z]{4,6}")
WORDS: Final = {
    "positionSingle": "RTO={password},1,,,,,,",
    "rebootDevice": "RTO={password},3,,,,,,",
    "getVersion": "RTO={password},8,,,,,,",
    "getDeviceStatus": "RTO={password},B,,,,,,",
    "engineStop": "OUT={password},1,0,0" + "," * 14,
    "engineResume": "OUT={password},0,0,0" + "," * 14,
}
"""Behind ``AT+GT``. GTOUT has sixteen fields in GV200 and GV300: the first output held (duration and toggles of 0), the rest as it is."""


def spell(_device: DeviceKey, command: Command, _now: datetime) -> bytes:
    """The line. Raises CommandError."""
    if command.type == CUSTOM:
        text = read(command, "data")
        return text.encode("ascii") if text.endswith("$") else f"{text}$".encode("ascii")
    password = command.attributes.get("devicePassword")
    if not isinstance(password, str) or not PASSWORD_FORM.fullmatch(password):
        raise CommandError(
            "attributes.devicePassword: is missing or no 4 to 6 letters and digits; makers set the model's name,"
            " such as gv300 or gl300"
        )
    return f"AT+GT{WORDS[command.type].format(password=password)}{SERIAL}$".encode("ascii")


COMMANDS: Final = Commands((CUSTOM, *WORDS), spell)
