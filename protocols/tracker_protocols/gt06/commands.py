"""What a GT06 is told: kind 0x80, text as by SMS.

Content: length of what follows (1), server flag (4, given back in the answer), text in ASCII. Source: Concox, "GPS
Tracker Communication Protocol" 1.8.1 §6.1; the words are those of the makers' SMS command lists.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tracker_protocols.gt06.frames import message
from tracker_protocols.model import DeviceKey
from tracker_protocols.wire.command import Command, CommandError, Commands, filled

TELL: Final = 0x80
SERVER_FLAG: Final = bytes(4)
TEXT_BYTES_MAX: Final = 240  # the frame's own length is one byte

WORDS: Final = {
    "custom": "{data}",
    "engineStop": "Relay,1#",
    "engineResume": "Relay,0#",
    "rebootDevice": "RESET#",
    "factoryReset": "FACTORY#",
    "positionSingle": "WHERE#",
    "positionPeriodic": "TIMER,{frequency}#",
    "getVersion": "VERSION#",
    "getDeviceStatus": "STATUS#",
    "setSpeedLimit": "SPEED,ON,0,{speed},0#",
    "setConnection": "SERVER,0,{server},{port},0#",
}


def spell(_device: DeviceKey, command: Command, _now: datetime) -> bytes:
    """The frame. Raises CommandError."""
    text = filled(WORDS, command).encode("ascii")
    if len(text) > TEXT_BYTES_MAX:
        raise CommandError(f"attributes.data: has {len(text)} characters; GT06 takes {TEXT_BYTES_MAX}")
    return message(TELL, bytes([len(SERVER_FLAG) + len(text)]) + SERVER_FLAG + text)


COMMANDS: Final = Commands(tuple(WORDS), spell)
