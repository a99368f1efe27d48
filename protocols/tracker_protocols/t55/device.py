"""A T55's side: its name, then RMC sentences; TRCCR where there is a battery to tell of. No answers."""

from __future__ import annotations

from collections.abc import Sequence

from tracker_protocols.model import Attributes, Fix
from tracker_protocols.wire.checksums import xor8
from tracker_protocols.wire.device import Device, Outgoing
from tracker_protocols.wire.fields import MPS_PER_KNOT


def sentence(body: str) -> bytes:
    """``$body*hh`` and the line's end; the checksum is that of NMEA 0183."""
    raw = body.encode("latin-1", "replace")
    return b"$%b*%02X\r\n" % (raw, xor8(raw))


def angle(degrees: float, digits: int, hemispheres: str) -> str:
    """``ddmm.mmmmm,N``; ``digits`` of whole degrees. Rounded as one number: no 60th minute."""
    units = round(abs(degrees) * 60 * 100_000)
    whole, rest = divmod(units, 60 * 100_000)
    return f"{whole:0{digits}d}{rest / 100_000:08.5f},{hemispheres[degrees < 0]}"


class T55Device(Device):
    """A simulated T55."""

    def login(self) -> Outgoing:
        return Outgoing(sentence(f"PGID,{self.unique_id}"))

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        return Outgoing(self._report(fixes[0], attributes or {}))

    def datagram(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        """The name stands before the sentence."""
        return Outgoing(
            self.unique_id.encode("latin-1", "replace") + self._report(fixes[0], attributes or {})
        )

    def _report(self, fix: Fix, attributes: Attributes) -> bytes:
        at = fix.fixed_at
        status = "A" if fix.valid else "V"
        knots = (fix.speed_mps or 0) / MPS_PER_KNOT
        course = fix.course_deg or 0
        milliseconds = at.microsecond // 1000
        if "batteryLevel" in attributes:
            return sentence(
                f"TRCCR,{at:%Y%m%d%H%M%S}.{milliseconds:03d},{status},{fix.latitude:.6f},{fix.longitude:.6f},"
                f"{knots:.2f},{course:.2f},{fix.altitude_m or 0:.2f},{attributes['batteryLevel']:.0f},"
            )
        return sentence(
            f"GPRMC,{at:%H%M%S}.{milliseconds:03d},{status},{angle(fix.latitude, 2, 'NS')},"
            f"{angle(fix.longitude, 3, 'EW')},{knots:.2f},{course:.2f},{at:%d%m%y},,,{'A' if fix.valid else 'N'}"
        )
