"""The tracker's side of H02, as a SinoTrack ST-906 speaks it: V6 reports, which want no answer, and HTBT."""

from __future__ import annotations

from collections.abc import Sequence

from tracker_protocols.h02.status import ACC_OFF
from tracker_protocols.model import Attributes, Fix
from tracker_protocols.wire.device import Device, Outgoing
from tracker_protocols.wire.fields import MPS_PER_KNOT


class H02Device(Device):
    """A simulated tracker. ``ignition`` is the one attribute that it reports."""

    def heartbeat(self) -> Outgoing:
        frame = f"*HQ,{self.unique_id},HTBT".encode()
        return Outgoing(frame + b",100#", frame + b"#")

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        fix = fixes[0]
        status = 0xFFFFFFFF if (attributes or {}).get("ignition", True) else 0xFFFFFFFF & ~ACC_OFF
        speed = (fix.speed_mps or 0) / MPS_PER_KNOT
        text = (
            f"*HQ,{self.unique_id},V6,{fix.fixed_at:%H%M%S},{'A' if fix.valid else 'V'},"
            f"{nmea(fix.latitude, 2)},{'S' if fix.latitude < 0 else 'N'},"
            f"{nmea(fix.longitude, 3)},{'W' if fix.longitude < 0 else 'E'},"
            f"{speed:06.2f},{round(fix.course_deg or 0) % 360:03d},{fix.fixed_at:%d%m%y},{status:08X}#"
        )
        return Outgoing(text.encode())


def nmea(degrees: float, digits: int) -> str:
    """Degrees as ``DDMM.mmmm`` (``digits`` for the degrees), the sign left out."""
    whole, ten_thousandths = divmod(round(abs(degrees) * 600_000), 600_000)
    return f"{whole:0{digits}d}{ten_thousandths / 10_000:07.4f}"
