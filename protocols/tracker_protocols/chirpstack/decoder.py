"""ChirpStack 4: events of LoRaWAN devices as JSON, by its HTTP integration or by its MQTT broker. See README.md.

Source: https://www.chirpstack.io/docs/chirpstack/integrations/events.html (uplink events),
https://www.chirpstack.io/docs/chirpstack/integrations/mqtt.html (scheduling downlinks).
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from tracker_protocols.json.decoder import MappedDecoder
from tracker_protocols.json.mapping import Mapping
from tracker_protocols.wire.downlink import Downlink

MAPPING: Final = Mapping(
    only="object || location || batteryLevel",
    identity="[fPort, fCnt, data, object, location]",
    device="deviceInfo.devEui",
    time="object.time || object.timestamp || time",
    latitude="object.latitude || object.lat || (object.gpsLocation.*.latitude | [0]) || location.latitude",
    longitude="object.longitude || object.lon || object.lng || (object.gpsLocation.*.longitude | [0]) || location.longitude",
    altitude="object.altitude || object.alt || (object.gpsLocation.*.altitude | [0]) || location.altitude",
    speed="object.speed",
    speed_unit="km/h",
    course="object.heading || object.course",
    accuracy="object.accuracy || location.accuracy",
    attributes={
        "sat": "object.sats || object.sat",
        "batteryLevel": "object.batteryLevel || object.battery_level || batteryLevel",
        "rssi": "rxInfo[0].rssi",
    },
    others="object",
)


def downlink(told: Downlink) -> dict[str, Any]:
    """An entry of the device's queue."""
    return {"devEui": told.device, "confirmed": told.confirmed, "fPort": told.port, "data": told.data}


class ChirpstackDecoder(MappedDecoder):
    """Every event names its device; those without measurements are signs of life."""

    name: ClassVar[str] = "chirpstack"
    shape: ClassVar[Mapping] = MAPPING
