"""A phone's side: one GET for each fix, answered 200."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from tracker_protocols.model import Attributes, Fix, HttpRequest
from tracker_protocols.wire.device import HttpDevice, OutgoingRequest
from tracker_protocols.wire.fields import MPS_PER_KNOT

NAMES = {"batteryLevel": "batt"}


class OsmandDevice(HttpDevice):
    """A simulated phone with the query form. Every attribute has a word here: its name."""

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> OutgoingRequest:
        fix = fixes[0]
        milliseconds = round(fix.fixed_at.timestamp() * 1000)
        seconds, rest = divmod(milliseconds, 1000)
        fields: dict[str, object] = {
            "id": self.unique_id,
            "timestamp": milliseconds if rest else seconds,
            "lat": f"{fix.latitude:.7f}",
            "lon": f"{fix.longitude:.7f}",
        }
        if not fix.valid:
            fields["valid"] = "false"
        if fix.speed_mps is not None:
            fields["speed"] = round(fix.speed_mps / MPS_PER_KNOT, 3)
        if fix.course_deg is not None:
            fields["bearing"] = fix.course_deg
        if fix.altitude_m is not None:
            fields["altitude"] = fix.altitude_m
        if fix.accuracy_m is not None:
            fields["accuracy"] = fix.accuracy_m
        for name, value in (attributes or {}).items():
            fields[NAMES.get(name, name)] = str(value).lower() if isinstance(value, bool) else value
        return OutgoingRequest(HttpRequest("GET", f"/?{urlencode(fields)}", {"host": "localhost:5055"}, b""))
