"""A phone's side: one object for each fix."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tracker_protocols.model import Attributes, Fix, HttpRequest
from tracker_protocols.wire.device import HttpDevice, OutgoingRequest
from tracker_protocols.wire.fields import MPS_PER_KMH

NAMES = {"batteryLevel": "batt"}


class OwntracksDevice(HttpDevice):
    """A simulated phone; the object names it by its topic, so that it is the same one by HTTP and by MQTT."""

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> OutgoingRequest:
        fix = fixes[0]
        body: dict[str, object] = {
            "_type": "location",
            "topic": self.unique_id,
            "tid": self.unique_id[-2:],
            "tst": int(fix.fixed_at.timestamp()),
            "lat": round(fix.latitude, 7),
            "lon": round(fix.longitude, 7),
        }
        if fix.altitude_m is not None:
            body["alt"] = round(fix.altitude_m)
        if fix.speed_mps is not None:
            body["vel"] = round(fix.speed_mps / MPS_PER_KMH)
        if fix.course_deg is not None:
            body["cog"] = round(fix.course_deg)
        if fix.accuracy_m is not None:
            body["acc"] = round(fix.accuracy_m)
        for name, value in (attributes or {}).items():
            body.setdefault(NAMES.get(name, name), value)
        request = HttpRequest("POST", "/", {"content-type": "application/json"}, msgspec.json.encode(body))
        return OutgoingRequest(request)
