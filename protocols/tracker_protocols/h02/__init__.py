"""H02: text between ``*`` and ``#`` and BCD frames behind ``$``. See README.md in this folder."""

from tracker_protocols.h02.commands import COMMANDS
from tracker_protocols.h02.decoder import H02Decoder
from tracker_protocols.h02.device import H02Device
from tracker_protocols.protocol import Protocol, Transport

H02 = Protocol(
    name="h02",
    title="H02 (SinoTrack, HuaSunTek, LKGPS and many unbranded trackers)",
    port=5013,
    transports=(Transport.TCP, Transport.UDP),
    decoder=H02Decoder,
    device=H02Device,
    models=(
        "ST-901",
        "ST-902",
        "ST-903",
        "ST-904",
        "ST-905",
        "ST-906",
        "LK106",
        "LK209",
        "RF-V16",
        "H02",
        "H06",
    ),
    commands=COMMANDS,
)
