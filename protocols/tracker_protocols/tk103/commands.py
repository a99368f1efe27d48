"""What a TK103 is told, in two dialects: ``(identity word parameters)``, and ``[begin]sms2,text,[end]``, which wraps what
would be an SMS, for those that know it (attribute ``alternative`` true).

Source: GPRS Communication Protocol V1.5 (KX402) §Commands (AP, AR, AT, AV, AX); TK103 alternate protocol V2.1.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tracker_protocols.model import DeviceKey
from tracker_protocols.wire.command import Command, CommandError, Commands, enabled, filled, read, whole

PACKED: Final = {
    "custom": "{data}",
    "getVersion": "AP07",
    "positionSingle": "AP00",
    "positionPeriodic": "AR00{period}0000",
    "positionStop": "AR0000000000",
    "engineStop": "AV010",
    "engineResume": "AV011",
    "outputControl": "AV00{data}",
    "rebootDevice": "AT00",
    "setOdometer": "AX01",
}
WRAPPED: Final = {
    "custom": "{data}",
    "getVersion": "*about*",
    "positionSingle": "*getposl*",
    "positionPeriodic": "*routetrack*99*",
    "positionStop": "*routetrackoff*",
    "rebootDevice": "88888888",
    "deviceIdentification": "999999",
    "alarmSos": "*sos{switch}*",
    "setConnection": "*setip*{place}*{port}*",
    "sosNumber": "*master*{devicePassword}*{phone}*",
}
PERIOD_S_MAX: Final = 0xFFFF


def spell(device: DeviceKey, command: Command, _now: datetime) -> bytes:
    """The sentence, in the dialect that ``alternative`` asks for. Raises CommandError."""
    wrapped = command.attributes.get("alternative") is True
    words = WRAPPED if wrapped else PACKED
    if command.type not in words:
        raise CommandError(
            f"type: {command.type!r} is known to the other dialect only; set attributes.alternative to"
            f" {str(not wrapped).lower()} if this device speaks it"
        )
    text = filled(words, Command(command.type, command.attributes | _more(command, wrapped=wrapped)))
    return f"[begin]sms2,{text},[end]".encode() if wrapped else f"({device}{text})".encode()


def _more(command: Command, *, wrapped: bool) -> dict[str, str]:
    """What the words need beside the command's own attributes."""
    match command.type:
        case "positionPeriodic" if not wrapped:
            return {"period": f"{whole(command, 'frequency', 1, PERIOD_S_MAX):04X}"}
        case "alarmSos":
            return {"switch": "on" if enabled(command) else "off"}
        case "setConnection":
            return {"place": read(command, "server").replace(".", "*")}
        case _:
            return {}


COMMANDS: Final = Commands(tuple(dict.fromkeys([*PACKED, *WRAPPED])), spell)
