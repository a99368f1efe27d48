"""What a home-made tracker is told: an object with ``command`` and the command's attributes beside it. See README.md."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from tracker_protocols.model import DeviceKey
from tracker_protocols.wire.command import CUSTOM, Command, CommandError, Commands, read, whole

TYPES: Final = (
    "engineStop", "engineResume", "positionSingle", "positionPeriodic", "positionStop", "rebootDevice", "alarmArm",
    "alarmDisarm", "getDeviceStatus", "getVersion", "outputControl",
)  # fmt: skip
FREQUENCY_S_MAX: Final = 86_400


def spell(_device: DeviceKey, command: Command, _now: datetime) -> bytes:
    """``{"command": "positionPeriodic", "frequency": 60}``; custom: its data as they are. Raises CommandError."""
    if command.type == CUSTOM:
        return read(command, "data").encode("ascii")
    told: dict[str, Any] = {**command.attributes, "command": command.type}
    if command.type == "positionPeriodic":
        told["frequency"] = whole(command, "frequency", 1, FREQUENCY_S_MAX)
    try:
        return msgspec.json.encode(told)
    except (TypeError, ValueError, OverflowError) as error:
        raise CommandError(f"attributes: cannot be written as JSON: {error}") from None


COMMANDS: Final = Commands((CUSTOM, *TYPES), spell)
