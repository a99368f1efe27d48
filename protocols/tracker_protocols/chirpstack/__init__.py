"""ChirpStack. See README.md in this folder."""

from tracker_protocols.chirpstack.decoder import ChirpstackDecoder, downlink
from tracker_protocols.chirpstack.device import ChirpstackDevice
from tracker_protocols.protocol import Protocol, Transport
from tracker_protocols.wire.downlink import downlinks

CHIRPSTACK = Protocol(
    name="chirpstack",
    title="ChirpStack (LoRaWAN)",
    port=5302,
    transports=(Transport.HTTP, Transport.MQTT),
    decoder=ChirpstackDecoder,
    device=ChirpstackDevice,
    models=("LoRaWAN trackers with a codec", "RAK", "Dragino", "Milesight"),
    commands=downlinks(downlink),
)
