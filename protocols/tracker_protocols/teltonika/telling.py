"""What a Teltonika is told: codec 12, text as by SMS, or bytes for what hangs on its serial port.

Source: Teltonika Telematics wiki, "Codec 12" and "FMB SMS/GPRS Commands".
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from tracker_protocols.model import DeviceKey
from tracker_protocols.teltonika.commands import COMMAND, message_12
from tracker_protocols.wire.command import Command, Commands, filled

WORDS: Final = {
    "custom": "{data}",
    "engineStop": "setdigout 1",
    "engineResume": "setdigout 0",
    "outputControl": "setdigout {data}",
    "rebootDevice": "cpureset",
    "positionSingle": "getgps",
    "positionPeriodic": "setparam 10050:{frequency}",  # period while moving, home network
    "getVersion": "getver",
    "getDeviceStatus": "getstatus",
    "setConnection": "setparam 2004:{server};2005:{port}",
}

_BYTES = re.compile(r"(?:[0-9A-Fa-f]{2}){3,}")


def spell(_device: DeviceKey, command: Command, _now: datetime) -> bytes:
    """The packet. Custom ``data`` in hexadecimal (three bytes or more) is sent as the bytes that it spells.

    Raises CommandError.
    """
    text = filled(WORDS, command)
    as_bytes = command.type == "custom" and _BYTES.fullmatch(text)
    return message_12(COMMAND, bytes.fromhex(text) if as_bytes else text.encode("ascii"))


COMMANDS: Final = Commands(tuple(WORDS), spell)
