"""OsmAnd: fixes as HTTP requests, from phones and from whatever can make one. See README.md in this folder."""

from tracker_protocols.osmand.decoder import OsmandDecoder
from tracker_protocols.osmand.device import OsmandDevice
from tracker_protocols.protocol import Protocol, Transport

OSMAND = Protocol(
    name="osmand",
    title="OsmAnd and Traccar Client (HTTP)",
    port=5055,
    transports=(Transport.HTTP, Transport.MQTT),
    decoder=OsmandDecoder,
    device=OsmandDevice,
    models=("OsmAnd", "Traccar Client", "mesh2traccar", "Connect IQ barrels", "home-made trackers"),
)
