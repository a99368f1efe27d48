"""Queclink's @Track, as text and HEX. See README.md in this folder."""

from tracker_protocols.gl200.commands import COMMANDS
from tracker_protocols.gl200.decoder import Gl200Decoder
from tracker_protocols.gl200.device import Gl200Device
from tracker_protocols.protocol import Protocol, Transport

GL200 = Protocol(
    name="gl200",
    title="Queclink (@Track)",
    port=5004,
    transports=(Transport.TCP, Transport.UDP),
    decoder=Gl200Decoder,
    device=Gl200Device,
    models=(
        "GL200",
        "GL300",
        "GL300W",
        "GL500",
        "GL505",
        "GV55",
        "GV65",
        "GV75",
        "GV200",
        "GV300",
        "GV300W",
        "GV310LAU",
        "GV350M",
        "GV500",
        "GV600M",
        "GMT100",
        "CV100",
        "CV200",
    ),
    commands=COMMANDS,
)
