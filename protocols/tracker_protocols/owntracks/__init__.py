"""OwnTracks. See README.md in this folder."""

from tracker_protocols.owntracks.commands import COMMANDS
from tracker_protocols.owntracks.decoder import OwntracksDecoder
from tracker_protocols.owntracks.device import OwntracksDevice
from tracker_protocols.protocol import Protocol, Transport

OWNTRACKS = Protocol(
    name="owntracks",
    title="OwnTracks (MQTT and HTTP)",
    port=5144,
    transports=(Transport.MQTT, Transport.HTTP),
    decoder=OwntracksDecoder,
    device=OwntracksDevice,
    models=("OwnTracks for Android", "OwnTracks for iOS", "QTripp", "Greenwich"),
    commands=COMMANDS,
)
