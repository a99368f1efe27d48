"""What a LoRaWAN device is told: bytes for a port, which a network server takes as JSON. Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from tracker_protocols.model import DeviceKey
from tracker_protocols.wire.command import CUSTOM, Command, CommandError, Commands, enabled, read, whole

PORTS: Final = (1, 223)  # what a payload of an application may have (LoRaWAN 1.0.4 §4.3.2)
PORT: Final = 1
BYTES_MAX: Final = 242  # the longest payload of any region and data rate


class Downlink(Struct, frozen=True):
    """One payload on its way to a device; ``confirmed``: the device shall acknowledge it to its network."""

    device: DeviceKey
    port: int
    data: str
    """Base64."""
    confirmed: bool


def downlinks(write: Callable[[Downlink], dict[str, Any]]) -> Commands:
    """The command ``custom``: ``data`` are bytes in hexadecimal; ``port`` (1), ``confirmed`` (false)."""

    def spell(device: DeviceKey, command: Command, _now: datetime) -> bytes:
        text = read(command, "data").replace(" ", "")
        try:
            data = bytes.fromhex(text)
        except ValueError:
            raise CommandError(
                f"attributes.data: {text[:40]!r} is not hexadecimal; write the payload's bytes such as 0105FF"
            ) from None
        if len(data) > BYTES_MAX:
            raise CommandError(f"attributes.data: has {len(data)} bytes; a payload has up to {BYTES_MAX}")
        port = whole(command, "port", *PORTS) if "port" in command.attributes else PORT
        confirmed = "confirmed" in command.attributes and enabled(command, "confirmed")
        return msgspec.json.encode(write(Downlink(device, port, base64.b64encode(data).decode(), confirmed)))

    return Commands((CUSTOM,), spell)
