"""A TK103's side: it enrols with its first report and shakes hands while it is idle."""

from __future__ import annotations

from collections.abc import Sequence

from tracker_protocols.model import Attributes, Fix
from tracker_protocols.wire.device import Device, Outgoing
from tracker_protocols.wire.fields import MPS_PER_KMH


def angle(degrees: float, digits: int, hemispheres: str) -> str:
    """``ddmm.mmmmN``; ``digits`` of whole degrees. Rounded as one number: no 60th minute."""
    units = round(abs(degrees) * 60 * 10_000)
    whole, rest = divmod(units, 60 * 10_000)
    return f"{whole:0{digits}d}{rest / 10_000:07.4f}{hemispheres[degrees < 0]}"


class Tk103Device(Device):
    """A simulated TK103. The language has twelve digits for its name; others are sent as they are."""

    _enrolled = False

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        place = self._place(fixes[0], attributes or {})
        if self._enrolled:
            return Outgoing(f"({self.unique_id}BR00{place})".encode())
        self._enrolled = True
        identity = f"000{self.unique_id}"[-15:]
        return Outgoing(
            f"({self.unique_id}BP05{identity}{place})".encode(), f"({self.unique_id}AP05)".encode()
        )

    def heartbeat(self) -> Outgoing:
        return Outgoing(f"({self.unique_id}BP00HSO)".encode(), f"({self.unique_id}AP01HSO)".encode())

    def datagram(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        """Over UDP there is no connection to enrol."""
        return Outgoing(f"({self.unique_id}BR00{self._place(fixes[0], attributes or {})})".encode())

    def _place(self, fix: Fix, attributes: Attributes) -> str:
        at = fix.fixed_at
        speed = min((fix.speed_mps or 0) / MPS_PER_KMH, 999.9)
        ignition = "1" if attributes.get("ignition") else "0"
        return (
            f"{at:%y%m%d}{'A' if fix.valid else 'V'}{angle(fix.latitude, 2, 'NS')}"
            f"{angle(fix.longitude, 3, 'EW')}{speed:05.1f}{at:%H%M%S}{fix.course_deg or 0:06.2f}"
            f"0{ignition}000000L{int(attributes.get('odometer', 0)):08X}"
        )
