"""The GT06's side: login, location frames, heartbeat, each with the answer it must get."""

from __future__ import annotations

from collections.abc import Sequence

from tracker_protocols.gt06.decoder import login_key
from tracker_protocols.gt06.frames import LOGIN, answer
from tracker_protocols.model import Attributes, Fix
from tracker_protocols.wire.checksums import crc16_x25
from tracker_protocols.wire.device import Device, Outgoing
from tracker_protocols.wire.fields import MPS_PER_KMH


LOCATION, HEARTBEAT = 0x22, 0x13


class Gt06Device(Device):
    """A simulated GT06. Its serial number counts from 1 and wraps at 65535."""

    _serial = 0

    def login(self) -> Outgoing:
        return self._outgoing(LOGIN, login_key(self.unique_id))

    def heartbeat(self) -> Outgoing:
        return self._outgoing(HEARTBEAT, bytes([0x46, 6, 4, 0, 2]))

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        fix = fixes[0]
        at = fix.fixed_at
        flags = int(fix.course_deg or 0) % 360 | (0x1000 if fix.valid else 0)
        flags |= (0x0400 if fix.latitude >= 0 else 0) | (0x0800 if fix.longitude < 0 else 0)
        content = bytes([at.year % 100, at.month, at.day, at.hour, at.minute, at.second])
        content += bytes([0xC0 | min(int((attributes or {}).get("sat", 9)), 15)])
        content += round(abs(fix.latitude) * 1_800_000).to_bytes(4, "big")
        content += round(abs(fix.longitude) * 1_800_000).to_bytes(4, "big")
        content += bytes([min(round((fix.speed_mps or 0) / MPS_PER_KMH), 255)]) + flags.to_bytes(2, "big")
        return self._outgoing(LOCATION, content + bytes(11))

    def _outgoing(self, kind: int, content: bytes) -> Outgoing:
        self._serial = self._serial % 0xFFFF + 1
        serial = self._serial.to_bytes(2, "big")
        body = bytes([len(content) + 5, kind]) + content + serial
        frame = b"\x78\x78" + body + crc16_x25(body).to_bytes(2, "big") + b"\r\n"
        return Outgoing(frame, answer(kind, serial))
