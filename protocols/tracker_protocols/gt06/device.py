"""The GT06's side: login, location frames, heartbeat, each with the answer it must get."""

from __future__ import annotations

from collections.abc import Sequence

from tracker_protocols.gt06.decoder import login_key
from tracker_protocols.gt06.frames import LOGIN, answer, message
from tracker_protocols.model import Attributes, Fix
from tracker_protocols.wire.device import Device, Outgoing
from tracker_protocols.wire.fields import MPS_PER_KMH

LOCATION, HEARTBEAT = 0x22, 0x13
NORTH, WEST, POSITIONED = 0x0400, 0x0800, 0x1000
NO_CELL = bytes(8)


class Gt06Device(Device):
    """A simulated JM-VL03. Its serial number counts from 1 and wraps at 65535.

    Of the attributes it can say ``sat``, ``ignition``, ``archive`` and ``odometer``.
    """

    _serial = 0

    def login(self) -> Outgoing:
        return self._outgoing(LOGIN, login_key(self.unique_id))

    def heartbeat(self) -> Outgoing:
        """ACC on, charging, GPS on; battery full, signal strong, English."""
        return self._outgoing(HEARTBEAT, bytes((0x46, 6, 4, 0, 2)))

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        fix, said = fixes[0], attributes or {}
        at = fix.fixed_at
        flags = int(fix.course_deg or 0) % 360 | (POSITIONED if fix.valid else 0)
        flags |= (NORTH if fix.latitude >= 0 else 0) | (WEST if fix.longitude < 0 else 0)
        content = bytes((at.year % 100, at.month, at.day, at.hour, at.minute, at.second))
        content += bytes((0xC0 | min(int(said.get("sat", 9)), 15),))
        content += round(abs(fix.latitude) * 1_800_000).to_bytes(4, "big")
        content += round(abs(fix.longitude) * 1_800_000).to_bytes(4, "big")
        content += bytes((min(round((fix.speed_mps or 0) / MPS_PER_KMH), 255),)) + flags.to_bytes(2, "big")
        content += NO_CELL + bytes((bool(said.get("ignition")), 0, bool(said.get("archive"))))
        if "odometer" in said:
            content += min(int(said["odometer"]), 0xFFFFFFFF).to_bytes(4, "big")
        return self._outgoing(LOCATION, content)

    def _outgoing(self, kind: int, content: bytes) -> Outgoing:
        self._serial = self._serial % 0xFFFF + 1
        serial = self._serial.to_bytes(2, "big")
        return Outgoing(message(kind, content, serial), answer(kind, serial))
