"""ChirpStack's side: one uplink event for each fix."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tracker_protocols.model import Attributes, Fix, HttpRequest
from tracker_protocols.wire.device import HttpDevice, OutgoingRequest
from tracker_protocols.wire.fields import MPS_PER_KMH


class ChirpstackDevice(HttpDevice):
    """A simulated LoRaWAN tracker behind the HTTP integration; it counts its frames from 1."""

    _frames = 0

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> OutgoingRequest:
        fix = fixes[0]
        self._frames += 1
        told_at = fix.fixed_at.isoformat().replace("+00:00", "Z")
        measured: dict[str, object] = {
            "latitude": round(fix.latitude, 7),
            "longitude": round(fix.longitude, 7),
        }
        if fix.altitude_m is not None:
            measured["altitude"] = fix.altitude_m
        if fix.speed_mps is not None:
            measured["speed"] = round(fix.speed_mps / MPS_PER_KMH, 3)
        if fix.course_deg is not None:
            measured["heading"] = fix.course_deg
        body = {
            "deduplicationId": f"{self.unique_id}-{self._frames}",
            "time": told_at,
            "deviceInfo": {"deviceName": self.unique_id, "devEui": self.unique_id},
            "fCnt": self._frames,
            "fPort": 1,
            "data": "AA==",
            "object": measured | (attributes or {}),
        }
        headers = {"content-type": "application/json"}
        return OutgoingRequest(HttpRequest("POST", "/?event=up", headers, msgspec.json.encode(body)))
