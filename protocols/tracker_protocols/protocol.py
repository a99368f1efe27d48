"""What the server, the simulator and the documentation need to know of a protocol."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from tracker_protocols.wire.command import Commands
from tracker_protocols.wire.decoder import Decoder
from tracker_protocols.wire.device import Device, HttpDevice


class Transport(StrEnum):
    """How a protocol's bytes travel."""

    TCP = "tcp"
    UDP = "udp"
    HTTP = "http"
    MQTT = "mqtt"
    """Over the MQTT endpoint or a broker, on their ports; any protocol can, these are known to."""


class Protocol(Struct, frozen=True):
    """One device family's language.

    ``port`` is the number this field uses for it by habit. ``checksum``: a flipped bit cannot pass.
    ``commands``: what a device of this family can be told; None: nothing.
    """

    name: str
    title: str
    port: int
    transports: tuple[Transport, ...]
    decoder: type[Decoder]
    device: type[Device | HttpDevice]
    models: tuple[str, ...]
    checksum: bool = False
    commands: Commands | None = None
