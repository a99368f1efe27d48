"""Teltonika: the codecs of the FM, FMB, FMC, FMM, TAT, TFT and GH trackers. See README.md in this folder."""

from tracker_protocols.protocol import Protocol, Transport
from tracker_protocols.teltonika.decoder import TeltonikaDecoder
from tracker_protocols.teltonika.device import TeltonikaDevice
from tracker_protocols.teltonika.telling import COMMANDS

TELTONIKA = Protocol(
    name="teltonika",
    title="Teltonika (codecs 7, 8, 8 Extended, 12 to 16)",
    port=5027,
    transports=(Transport.TCP, Transport.UDP, Transport.MQTT),
    decoder=TeltonikaDecoder,
    device=TeltonikaDevice,
    models=(
        "FMB001", "FMB003", "FMB010", "FMB110", "FMB120", "FMB125", "FMB130", "FMB140", "FMB150", "FMB202", "FMB204",
        "FMB230", "FMB640", "FMB641", "FMB900", "FMB910", "FMB920", "FMB965", "FMC001", "FMC003", "FMC125", "FMC130",
        "FMC150", "FMC225", "FMC230", "FMC640", "FMC650", "FMC880", "FMC920", "FMM001", "FMM003", "FMM125", "FMM130",
        "FMM150", "FMM640", "FMM650", "FMM920", "FMP100", "FMT100", "FMU125", "FMU126", "FMU130", "MSP500", "MTB100",
        "TAT100", "TAT140", "TAT141", "TAT240", "TFT100", "TST100", "TMT250", "GH5200", "GH3000", "FM1100", "FM1110",
        "FM1120", "FM1202", "FM2200", "FM3001", "FM3622", "FM4200", "FM5300", "FM5500", "FM6300", "FM6320", "FMB630",
    ),
    checksum=True,
    commands=COMMANDS,
)  # fmt: skip
