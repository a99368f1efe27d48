"""What an H02 is told: ``*HQ,identity,word,HHMMSS,parameters#``; it confirms with V4.

Source: H02 "GPRS Communication Protocol" §Commands of the centre (S20 oil and power, R1 restart, SCF arming, S71 with
parameter 22 the period of reports).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tracker_protocols.model import DeviceKey
from tracker_protocols.wire.command import Command, Commands, filled

WORDS: Final = {
    "custom": "{data}",
    "engineStop": "S20,{at},1,1",
    "engineResume": "S20,{at},1,0",
    "rebootDevice": "R1,{at}",
    "alarmArm": "SCF,{at},0,0",
    "alarmDisarm": "SCF,{at},1,1",
    "positionPeriodic": "S71,{at},22,{frequency}",
}


def spell(device: DeviceKey, command: Command, now: datetime) -> bytes:
    """The sentence; ``now`` (UTC) is the time in it. Raises CommandError."""
    dated = Command(command.type, command.attributes | {"at": f"{now:%H%M%S}"})
    return f"*HQ,{device},{filled(WORDS, dated)}#".encode("ascii")


COMMANDS: Final = Commands(tuple(WORDS), spell)
