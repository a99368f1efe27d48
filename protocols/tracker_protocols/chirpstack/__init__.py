"""ChirpStack. See README.md in this folder."""

from tracker_protocols.chirpstack.decoder import ChirpstackDecoder
from tracker_protocols.chirpstack.device import ChirpstackDevice
from tracker_protocols.protocol import Protocol, Transport

CHIRPSTACK = Protocol(
    name="chirpstack",
    title="ChirpStack (LoRaWAN)",
    port=5302,
    transports=(Transport.HTTP, Transport.MQTT),
    decoder=ChirpstackDecoder,
    device=ChirpstackDevice,
    models=("LoRaWAN trackers with a codec", "RAK", "Dragino", "Milesight"),
)
