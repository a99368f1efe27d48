"""What a phone with OwnTracks is told: JSON with ``_type`` cmd, published under its topic and ``cmd``; encrypted where it
has a key.

Source: https://owntracks.org/booklet/tech/json §_type=cmd. The app obeys where its owner has switched remote commands on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from tracker_protocols.model import DeviceKey
from tracker_protocols.owntracks.decoder import OwntracksDecoder
from tracker_protocols.owntracks.sealing import sealed
from tracker_protocols.wire.command import CUSTOM, Command, CommandError, Commands, read, whole

ACTIONS: Final[dict[str, str]] = {
    "positionSingle": "reportLocation",
    "getDeviceStatus": "status",
    "positionPeriodic": "setConfiguration",
}
SECONDS_MAX: Final = 86_400

_write = msgspec.json.Encoder().encode


def spell(device: DeviceKey, command: Command, _now: datetime) -> bytes:
    """The object. Raises CommandError."""
    told = _object(command)
    keys = OwntracksDecoder.keys
    key = keys.get(device, keys.get("", b""))
    return sealed(told, key) if key else told


def _object(command: Command) -> bytes:
    if command.type == CUSTOM:
        return _given(read(command, "data"))
    told: dict[str, Any] = {"_type": "cmd", "action": ACTIONS[command.type]}
    if command.type == "positionPeriodic":
        seconds = whole(command, "frequency", 1, SECONDS_MAX)
        told["configuration"] = {"_type": "configuration", "locatorInterval": seconds}
    return _write(told)


def _given(text: str) -> bytes:
    """An action by its name, or a whole object."""
    if not text.startswith("{"):
        return _write({"_type": "cmd", "action": text})
    try:
        said = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise CommandError(f"attributes.data: is no JSON: {error}") from None
    if not isinstance(said, dict) or "_type" not in said:
        raise CommandError('attributes.data: has no _type; write such as {"_type":"cmd","action":"dump"}')
    return text.encode()


COMMANDS: Final = Commands((CUSTOM, *ACTIONS), spell)
