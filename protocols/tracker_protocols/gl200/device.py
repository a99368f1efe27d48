"""The tracker's side, as a GL300 speaks it with SACK on: up to fifteen fixes in a report, and heartbeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from tracker_protocols.model import Attributes, Fix
from tracker_protocols.wire.device import Device, Outgoing
from tracker_protocols.wire.fields import MPS_PER_KMH

VERSION: Final = "1A0102"


class Gl200Device(Device):
    """A simulated tracker. It counts its frames; ``batteryLevel`` is the one attribute that it reports."""

    fixes_in_packet_max: ClassVar[int] = 15
    _count = 0

    def _counted(self) -> str:
        self._count = (self._count + 1) & 0xFFFF
        return f"{self._count:04X}"

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        count = self._counted()
        battery = (attributes or {}).get("batteryLevel", "")
        places = ",".join(_place(fix) for fix in fixes)
        sent = f"{fixes[-1].fixed_at:%Y%m%d%H%M%S}"
        text = f"+RESP:GTFRI,{VERSION},{self.unique_id},,0,0,{len(fixes)},{places},{battery},{sent},{count}$"
        return Outgoing(text.encode(), f"+SACK:{count}$".encode())

    def heartbeat(self) -> Outgoing:
        count = self._counted()
        text = f"+ACK:GTHBD,{VERSION},{self.unique_id},,20260101000000,{count}$"
        return Outgoing(text.encode(), f"+SACK:GTHBD,{VERSION},{count}$".encode())


def _place(fix: Fix) -> str:
    """Accuracy, speed, azimuth, altitude, degrees, time, cell, odometer."""
    return (
        f"1,{(fix.speed_mps or 0) / MPS_PER_KMH:.1f},{round(fix.course_deg or 0) % 360},{fix.altitude_m or 0:.1f},"
        f"{fix.longitude:.6f},{fix.latitude:.6f},{fix.fixed_at:%Y%m%d%H%M%S},0460,0000,18d8,6141,"
    )
