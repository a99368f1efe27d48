"""H02: ``*maker,device,kind,…#`` or BCD. Every frame names its device; only some kinds are answered.

Sources: HuaSunTek "GPS Tracker Communication Protocol" V1.0.5, LKGPS protocol, and what fleets send;
README.md says which kind comes from where.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar, Final

from tracker_protocols.h02.binary import decode_binary
from tracker_protocols.h02.framing import (
    BINARY_MARKER,
    DATAGRAM_BINARY_SIZE_MAX,
    H02_FRAMING,
    OLD_BINARY_MARKER,
    TEXT_MARKER,
)
from tracker_protocols.h02.location import Sentence, decode_location, is_location
from tracker_protocols.h02.measurements import (
    decode_base,
    decode_bs,
    decode_heartbeat,
    decode_link,
    decode_nbr,
    decode_sms,
    decode_v3,
    decode_xt,
)
from tracker_protocols.h02.uploads import decode_alarm, decode_answer, decode_blind_spots, decode_vp1
from tracker_protocols.model import BadFrame, DeviceKey, Frame, Heartbeat, Reason
from tracker_protocols.wire.decoder import Decoded, StreamDecoder
from tracker_protocols.wire.fields import device_key
from tracker_protocols.wire.framing import Framing

READERS: Final[dict[bytes, Callable[[Sentence], Decoded]]] = {
    b"V0": decode_heartbeat,
    b"HTBT": decode_heartbeat,
    b"XT": decode_xt,
    b"V3": decode_v3,
    b"V4": decode_answer,
    b"VP1": decode_vp1,
    b"NBR": decode_nbr,
    b"BASE": decode_base,
    b"BS": decode_bs,
    b"LINK": decode_link,
    b"ALRM": decode_alarm,
    b"BC": decode_blind_spots,
    b"SMS": decode_sms,
    b"": lambda sentence: Heartbeat(sentence.device),  # "*HQ,4109198974,#": the connection is up
}


class H02Decoder(StreamDecoder):
    """No login: ``device`` is the last one that a frame named, for frames that leave their identifier empty."""

    name: ClassVar[str] = "h02"
    framing: ClassVar[Framing] = H02_FRAMING

    def __init__(self, device: DeviceKey | None = None) -> None:
        super().__init__(device)
        self._key = b""

    def decode_frame(self, frame: bytes, received_at: datetime) -> Decoded:
        marker = frame[0] if frame else 0
        if marker == TEXT_MARKER:
            return self._decode_text(frame, received_at)
        if marker in {BINARY_MARKER, OLD_BINARY_MARKER}:
            report = decode_binary(frame, self.device)
            self.device, self._key = report.device, b""
            return report
        raise BadFrame(Reason.MALFORMED, "neither text nor BCD")

    def _decode_text(self, frame: bytes, received_at: datetime) -> Decoded:
        end = frame.rfind(b"#")
        body = frame[1:end] if end > 0 else frame[1:].rstrip()
        fields = body.split(b",")
        if len(fields) < 3:
            raise BadFrame(Reason.MALFORMED, "maker, device and kind expected")
        key = fields[1]
        if key and key != self._key:
            self.device = device_key(key)
            self._key = key
        kind = fields[2].strip().upper()
        sentence = Sentence(self.device, key, kind, fields, body, received_at)
        reader = READERS.get(kind)
        if reader:
            return reader(sentence)
        if kind[0] == 0x56 or is_location(fields):  # V1, V5, V6, V8, V19, VI1 …
            return decode_location(sentence)
        raise BadFrame(Reason.UNKNOWN_KIND, kind[:32].decode("latin-1"))

    def receive_datagram(self, data: bytes, received_at: datetime) -> list[Frame]:
        """One BCD frame of whatever form, or frames one after another as in a stream."""
        if data[:1] in {b"$", b"X"} and len(data) <= DATAGRAM_BINARY_SIZE_MAX:
            return [self.read_frame(data, received_at)]
        frames: list[Frame] = []
        at, end = 0, len(data)
        while at < end:
            skip, size = self.framing.cut(data, at)
            if size:
                frames.append(self.read_frame(data[at + skip : at + skip + size], received_at))
            elif not skip:
                break
            at += skip + size
        return frames or [self.read_frame(data, received_at)]
