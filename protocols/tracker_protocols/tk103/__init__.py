"""TK103: text in parentheses. See README.md in this folder."""

from tracker_protocols.protocol import Protocol, Transport
from tracker_protocols.tk103.commands import COMMANDS
from tracker_protocols.tk103.decoder import Tk103Decoder
from tracker_protocols.tk103.device import Tk103Device

TK103 = Protocol(
    name="tk103",
    title="TK103 (KX402, Kingneed)",
    port=5002,
    transports=(Transport.TCP, Transport.UDP),
    decoder=Tk103Decoder,
    device=Tk103Device,
    models=("TK103", "TK103B", "KX402", "TK05", "TK10", "TK15", "TK20", "T12", "T18", "T4400"),
    commands=COMMANDS,
)
