"""The Things Stack's side: one uplink for each fix."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tracker_protocols.model import Attributes, Fix, HttpRequest
from tracker_protocols.wire.device import HttpDevice, OutgoingRequest
from tracker_protocols.wire.fields import MPS_PER_KNOT


class TtnDevice(HttpDevice):
    """A simulated LoRaWAN tracker behind a webhook; it counts its frames from 1."""

    _frames = 0

    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> OutgoingRequest:
        fix = fixes[0]
        self._frames += 1
        told_at = fix.fixed_at.isoformat().replace("+00:00", "Z")
        decoded: dict[str, object] = {
            "latitude": round(fix.latitude, 7),
            "longitude": round(fix.longitude, 7),
            "time": told_at,
        }
        if fix.altitude_m is not None:
            decoded["altitude"] = fix.altitude_m
        if fix.speed_mps is not None:
            decoded["speed"] = round(fix.speed_mps / MPS_PER_KNOT, 3)
        if fix.course_deg is not None:
            decoded["heading"] = fix.course_deg
        body = {
            "end_device_ids": {"device_id": self.unique_id, "application_ids": {"application_id": "app"}},
            "received_at": told_at,
            "uplink_message": {
                "f_port": 1,
                "f_cnt": self._frames,
                "decoded_payload": decoded | (attributes or {}),
                "received_at": told_at,
            },
        }
        headers = {"content-type": "application/json"}
        return OutgoingRequest(HttpRequest("POST", "/", headers, msgspec.json.encode(body)))
