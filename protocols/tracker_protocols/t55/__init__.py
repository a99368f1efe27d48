"""T55: bare NMEA 0183 sentences over TCP or UDP, and the lines that say whose they are. See README.md."""

from tracker_protocols.protocol import Protocol, Transport
from tracker_protocols.t55.decoder import T55Decoder
from tracker_protocols.t55.device import T55Device

T55 = Protocol(
    name="t55",
    title="NMEA 0183 (T55, Maxon, CradlePoint, WMCS and others)",
    port=5005,
    transports=(Transport.TCP, Transport.UDP),
    decoder=T55Decoder,
    device=T55Device,
    models=(
        "T55",
        "Maxon",
        "CradlePoint MBR and AER",
        "Sierra Wireless",
        "Cypress CTM-15x and CTM-200",
        "WMCS",
        "Traccar Client before 2.0",
        "GNSS receivers behind a modem",
    ),
)
