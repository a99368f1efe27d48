"""Decoders for the languages of GPS trackers: bytes in, messages out, no I/O.

``ALL`` is the registry: a protocol is here or it does not exist.
"""

from tracker_protocols.chirpstack import CHIRPSTACK
from tracker_protocols.gl200 import GL200
from tracker_protocols.gps103 import GPS103
from tracker_protocols.gt06 import GT06
from tracker_protocols.h02 import H02
from tracker_protocols.json import JSON
from tracker_protocols.osmand import OSMAND
from tracker_protocols.owntracks import OWNTRACKS
from tracker_protocols.protocol import Protocol
from tracker_protocols.t55 import T55
from tracker_protocols.teltonika import TELTONIKA
from tracker_protocols.tk103 import TK103
from tracker_protocols.ttnhttp import TTNHTTP

ALL: tuple[Protocol, ...] = (
    CHIRPSTACK,
    GL200,
    GPS103,
    GT06,
    H02,
    JSON,
    OSMAND,
    OWNTRACKS,
    T55,
    TELTONIKA,
    TK103,
    TTNHTTP,
)
BY_NAME: dict[str, Protocol] = {protocol.name: protocol for protocol in ALL}
