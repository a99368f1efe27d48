"""GT06: the binary language of Concox, Jimi and their many cousins. See README.md in this folder."""

from tracker_protocols.gt06.commands import COMMANDS
from tracker_protocols.gt06.decoder import Gt06Decoder
from tracker_protocols.gt06.device import Gt06Device
from tracker_protocols.protocol import Protocol, Transport

# fmt: off
MODELS = (
    "GT06", "GT06N", "GT06E", "GT06F", "GT02A", "GT03A", "GT08", "GV20", "GV25", "GK309", "GK310", "TR06",
    "ET25", "ET200", "ET210", "ET310", "JI09", "WeTrack2", "X1", "X3", "CRX1", "CRX3", "AT4", "JM-VL01",
    "JM-VL02", "JM-VL03", "JM-VL04", "JM-VW01", "JM-LL01", "JM-LL02", "JM-LL301", "EG01", "VL103", "VL512",
    "VL842", "LL303", "JC100", "JC400", "VXT01", "AZ735", "BENWAY", "S5", "S20", "EV02", "SR411",
    "SPACE10X", "SL48", "GL21L", "LW4G", "NT11", "NT20", "NT26", "XT40", "QH302R", "FM08ABC", "WD-209",
    "OBD6", "R11",
)
# fmt: on

GT06 = Protocol(
    name="gt06",
    title="GT06 (Concox, Jimi and cousins)",
    port=5023,
    transports=(Transport.TCP,),
    decoder=Gt06Decoder,
    device=Gt06Device,
    models=MODELS,
    commands=COMMANDS,
)
