"""The tracker's side of GPS103: login, ``tracker`` reports, heartbeats, each with the answer it must get."""

from __future__ import annotations

from collections.abc import Sequence

from tracker_protocols.gps103.decoder import HEARTBEAT_REPLY, LOGIN_REPLY
from tracker_protocols.model import Attributes, Fix
from tracker_protocols.wire.device import Device, Outgoing
from tracker_protocols.wire.fields import MPS_PER_KNOT


class Gps103Device(Device):
    """A simulated GPS103 whose clock stands at UTC. ``ignition`` and an SOS (``alarm``) are its attributes."""

    def login(self) -> Outgoing:
        return Outgoing(f"##,imei:{self.unique_id},A;".encode(), LOGIN_REPLY)

    def heartbeat(self) -> Outgoing:
        return Outgoing(f"{self.unique_id};".encode(), HEARTBEAT_REPLY)

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        fix = fixes[0]
        said = attributes or {}
        sos = said.get("alarm") == "sos"
        speed = (fix.speed_mps or 0) / MPS_PER_KNOT
        altitude = "" if fix.altitude_m is None else f"{fix.altitude_m:.1f}"
        text = (
            f"imei:{self.unique_id},{'help me' if sos else 'tracker'},{fix.fixed_at:%y%m%d%H%M%S},,F,"
            f"{fix.fixed_at:%H%M%S}.000,{'A' if fix.valid else 'V'},"
            f"{nmea(fix.latitude, 2)},{'S' if fix.latitude < 0 else 'N'},"
            f"{nmea(fix.longitude, 3)},{'W' if fix.longitude < 0 else 'E'},"
            f"{speed:.2f},{(fix.course_deg or 0) % 360:.2f},{altitude},{int(said.get('ignition', True))},0,,,;"
        )
        return Outgoing(text.encode(), f"**,imei:{self.unique_id},E;".encode() if sos else b"")


def nmea(degrees: float, digits: int) -> str:
    """Degrees as ``DDMM.mmmm`` (``digits`` for the degrees), the sign left out."""
    whole, ten_thousandths = divmod(round(abs(degrees) * 600_000), 600_000)
    return f"{whole:0{digits}d}{ten_thousandths / 10_000:07.4f}"
