"""The Things Stack: uplinks of LoRaWAN trackers as JSON, by webhook or by its MQTT server. See README.md.

Source: https://www.thethingsindustries.com/docs/integrations/data-formats/ (uplink message),
https://www.thethingsindustries.com/docs/integrations/other-integrations/mqtt/ (scheduling downlinks).
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from tracker_protocols.json.decoder import MappedDecoder
from tracker_protocols.json.mapping import Mapping
from tracker_protocols.wire.downlink import Downlink

DECODED: Final = "uplink_message.decoded_payload"


def either(*paths: str) -> str:
    """The first of these that is there."""
    return " || ".join(paths)


MAPPING: Final = Mapping(
    only="uplink_message",
    identity="uplink_message.[f_port, f_cnt, frm_payload, decoded_payload]",
    device="end_device_ids.device_id",
    time=either(f"{DECODED}.time", f"{DECODED}.timestamp", "uplink_message.received_at", "received_at"),
    latitude=either(
        f"{DECODED}.latitude",
        f"{DECODED}.lat",
        f"({DECODED}.*.latitude | [0])",
        'uplink_message.locations."frm-payload".latitude',
        "uplink_message.locations.user.latitude",
    ),
    longitude=either(
        f"{DECODED}.longitude",
        f"{DECODED}.lon",
        f"{DECODED}.lng",
        f"({DECODED}.*.longitude | [0])",
        'uplink_message.locations."frm-payload".longitude',
        "uplink_message.locations.user.longitude",
    ),
    altitude=either(f"{DECODED}.altitude", f"{DECODED}.alt", f"({DECODED}.*.altitude | [0])"),
    speed=f"{DECODED}.speed",
    speed_unit="kn",
    course=either(f"{DECODED}.heading", f"{DECODED}.course"),
    accuracy=f"{DECODED}.accuracy",
    attributes={
        "sat": either(f"{DECODED}.sats", f"{DECODED}.sat"),
        "batteryLevel": either(f"{DECODED}.batteryLevel", f"{DECODED}.battery_level"),
        "rssi": "uplink_message.rx_metadata[0].rssi",
    },
    others=DECODED,
)


def downlink(told: Downlink) -> dict[str, Any]:
    """A downlink, put at the end of the device's queue."""
    one = {"f_port": told.port, "frm_payload": told.data, "priority": "NORMAL"}
    return {"downlinks": [one | {"confirmed": True} if told.confirmed else one]}


class TtnDecoder(MappedDecoder):
    """Every uplink names its device; joins and other messages are signs of life."""

    name: ClassVar[str] = "ttnhttp"
    shape: ClassVar[Mapping] = MAPPING
