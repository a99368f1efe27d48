"""The Things Stack. See README.md in this folder."""

from tracker_protocols.protocol import Protocol, Transport
from tracker_protocols.ttnhttp.decoder import TtnDecoder, downlink
from tracker_protocols.ttnhttp.device import TtnDevice
from tracker_protocols.wire.downlink import downlinks

TTNHTTP = Protocol(
    name="ttnhttp",
    title="The Things Stack (LoRaWAN)",
    port=5303,
    transports=(Transport.HTTP, Transport.MQTT),
    decoder=TtnDecoder,
    device=TtnDevice,
    models=("LoRaWAN trackers with a payload formatter", "RAK", "Dragino", "Browan"),
    commands=downlinks(downlink),
)
