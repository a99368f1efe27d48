"""GT06: the binary language of Concox, Jimi and their many cousins. See README.md in this folder."""

from tracker_protocols.gt06.decoder import Gt06Decoder
from tracker_protocols.gt06.device import Gt06Device
from tracker_protocols.protocol import Protocol, Transport

GT06 = Protocol(
    name="gt06",
    title="GT06 (Concox, Jimi and cousins)",
    port=5023,
    transports=(Transport.TCP,),
    decoder=Gt06Decoder,
    device=Gt06Device,
    models=("GT06", "GT06N"),
    checksum=True,
)
