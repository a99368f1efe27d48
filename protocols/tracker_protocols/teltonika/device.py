"""The Teltonika device's side: login, packets of codec 8 over TCP and UDP, ping; each with its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from tracker_protocols.model import Attributes, Fix
from tracker_protocols.teltonika.avl import CODEC_8, DEGREE, HEAD
from tracker_protocols.teltonika.commands import framed
from tracker_protocols.wire.device import Device, Outgoing
from tracker_protocols.wire.fields import MPS_PER_KMH

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SAYS: dict[int, tuple[tuple[str, int, Callable[[Any], int]], ...]] = {
    1: (
        ("ignition", 239, int),
        ("motion", 240, int),
        ("rssi", 21, int),
        ("in1", 1, int),
        ("out1", 179, int),
        ("batteryLevel", 113, int),
    ),
    2: (
        ("power", 66, lambda volts: round(volts * 1000)),
        ("battery", 67, lambda volts: round(volts * 1000)),
        ("hdop", 182, lambda value: round(value * 10)),
        ("pdop", 181, lambda value: round(value * 10)),
        ("adc1", 9, lambda volts: round(volts * 1000)),
    ),
    4: (("odometer", 16, round), ("tripOdometer", 199, round), ("operator", 241, int)),
    8: (),
}
"""What a simulated device can say: by width, an attribute's name, its element and how it is written."""


class TeltonikaDevice(Device):
    """A simulated FMB920. A record has at most 72 bytes; 17 of them keep a packet below 1280 bytes."""

    fixes_in_packet_max: ClassVar[int] = 17

    _packet_id = 0

    def login(self) -> Outgoing:
        name = self.unique_id.encode()
        return Outgoing(len(name).to_bytes(2, "big") + name, b"\x01")

    def heartbeat(self) -> Outgoing:
        return Outgoing(b"\xff")

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        return Outgoing(framed(self._data(fixes, attributes)), len(fixes).to_bytes(4, "big"))

    def datagram(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        self._packet_id = self._packet_id % 0xFFFF + 1
        packet_id, avl_id = self._packet_id.to_bytes(2, "big"), bytes([self._packet_id & 0xFF])
        name = self.unique_id.encode()
        body = (
            packet_id + b"\x01" + avl_id + len(name).to_bytes(2, "big") + name + self._data(fixes, attributes)
        )
        answer = b"\x00\x05" + packet_id + b"\x01" + avl_id + bytes([len(fixes)])
        return Outgoing(len(body).to_bytes(2, "big") + body, answer)

    def _data(self, fixes: Sequence[Fix], attributes: Attributes | None) -> bytes:
        elements = self._elements(attributes or {})
        satellites = int((attributes or {}).get("sat", 9))
        records = b"".join(self._head(fix, satellites) + elements for fix in fixes)
        return bytes([CODEC_8, len(fixes)]) + records + bytes([len(fixes)])

    def _head(self, fix: Fix, satellites: int) -> bytes:
        milliseconds = round((fix.fixed_at - EPOCH).total_seconds() * 1000)
        return HEAD.pack(
            milliseconds,
            0,
            round(fix.longitude * DEGREE),
            round(fix.latitude * DEGREE),
            max(-0x8000, min(round(fix.altitude_m or 0), 0x7FFF)),
            round(fix.course_deg or 0) % 360,
            max(1, min(satellites, 255)) if fix.valid else 0,
            min(round((fix.speed_mps or 0) / MPS_PER_KMH), 0xFFFF),
        )

    def _elements(self, attributes: Attributes) -> bytes:
        groups: list[bytes] = []
        total = 0
        for width, sayings in SAYS.items():
            said = [
                bytes([element_id])
                + max(0, min(write(attributes[name]), (1 << 8 * width) - 1)).to_bytes(width, "big")
                for name, element_id, write in sayings
                if attributes.get(name) is not None
            ]
            total += len(said)
            groups.append(bytes([len(said)]) + b"".join(said))
        return bytes([0, total]) + b"".join(groups)
