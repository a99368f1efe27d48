"""JSON by usual names or by a mapping. See README.md in this folder."""

from tracker_protocols.json.commands import COMMANDS
from tracker_protocols.json.decoder import JsonDecoder
from tracker_protocols.json.device import JsonDevice
from tracker_protocols.protocol import Protocol, Transport

JSON = Protocol(
    name="json",
    title="JSON of home-made trackers",
    port=5301,
    transports=(Transport.HTTP, Transport.MQTT),
    decoder=JsonDecoder,
    device=JsonDevice,
    models=("ESP32", "Node-RED", "anything that can make JSON"),
    commands=COMMANDS,
)
