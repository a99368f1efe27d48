"""GPS103: ``imei:…;`` text of Coban's trackers and their many copies. See README.md in this folder."""

from tracker_protocols.gps103.commands import COMMANDS
from tracker_protocols.gps103.decoder import Gps103Decoder
from tracker_protocols.gps103.device import Gps103Device
from tracker_protocols.protocol import Protocol, Transport

GPS103 = Protocol(
    name="gps103",
    title="GPS103 (Coban TK102B to TK403, GPS102 to GPS405 and copies)",
    port=5001,
    transports=(Transport.TCP, Transport.UDP),
    decoder=Gps103Decoder,
    device=Gps103Device,
    models=(
        "GPS102",
        "GPS103",
        "GPS104",
        "GPS105",
        "GPS106",
        "GPS303",
        "GPS305",
        "GPS306",
        "GPS311",
        "GPS403",
        "TK102B",
        "TK103B",
        "TK106",
    ),
    commands=COMMANDS,
)
