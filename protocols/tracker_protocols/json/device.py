"""A home-made tracker's side: one object for each fix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from tracker_protocols.model import Attributes, Fix, HttpRequest
from tracker_protocols.wire.device import HttpDevice, OutgoingRequest


class JsonDevice(HttpDevice):
    """A simulated tracker that uses the names which need no mapping. Every attribute has a word here: its name."""

    fixes_in_packet_max: ClassVar[int] = 100

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> OutgoingRequest:
        records = [self._record(fix, attributes) for fix in fixes]
        body = msgspec.json.encode(records if len(records) > 1 else records[0])
        return OutgoingRequest(HttpRequest("POST", "/", {"content-type": "application/json"}, body))

    def _record(self, fix: Fix, attributes: Attributes | None) -> dict[str, object]:
        record: dict[str, object] = {
            "device_id": self.unique_id,
            "timestamp": fix.fixed_at.isoformat().replace("+00:00", "Z"),
            "lat": round(fix.latitude, 7),
            "lon": round(fix.longitude, 7),
        }
        if not fix.valid:
            record["valid"] = False
        if fix.altitude_m is not None:
            record["alt"] = fix.altitude_m
        if fix.speed_mps is not None:
            record["speed_mps"] = round(fix.speed_mps, 3)
        if fix.course_deg is not None:
            record["course"] = fix.course_deg
        if fix.accuracy_m is not None:
            record["accuracy"] = fix.accuracy_m
        return record | (attributes or {})
