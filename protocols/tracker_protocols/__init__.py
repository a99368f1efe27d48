"""Decoders for the languages of GPS trackers: bytes in, messages out, no I/O.

``ALL`` is the registry: a protocol is here or it does not exist.
"""

from tracker_protocols.gps103 import GPS103
from tracker_protocols.gt06 import GT06
from tracker_protocols.h02 import H02
from tracker_protocols.osmand import OSMAND
from tracker_protocols.protocol import Protocol
from tracker_protocols.t55 import T55
from tracker_protocols.teltonika import TELTONIKA
from tracker_protocols.tk103 import TK103

ALL: tuple[Protocol, ...] = (GPS103, GT06, H02, OSMAND, T55, TELTONIKA, TK103)
BY_NAME: dict[str, Protocol] = {protocol.name: protocol for protocol in ALL}
