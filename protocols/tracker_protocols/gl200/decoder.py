"""@Track of Queclink: ``+RESP:GTxxx,version,IMEI,name,…,sent,count$``. Every frame names its device; there is no login.

Sources: Queclink @Track Air Interface Protocol of GL200, GL300, GV200, GV300 and GMT100; README.md has the editions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ClassVar, Final

from tracker_protocols.gl200 import info, vehicle
from tracker_protocols.gl200.fields import is_hex, is_moment, moment_of
from tracker_protocols.gl200.framing import FRAMING, RECORDS_END, ZERO
from tracker_protocols.gl200.hexadecimal import REPORTS, decode_masked, decode_records
from tracker_protocols.gl200.kinds import PLACED, read_prefix
from tracker_protocols.gl200.places import Place, find_empty, find_places
from tracker_protocols.gl200.tails import read_tail
from tracker_protocols.model import (
    Attributes,
    BadFrame,
    CommandResult,
    DeviceKey,
    Frame,
    Heartbeat,
    Network,
    Reason,
    Reply,
    Report,
)
from tracker_protocols.wire.decoder import Decoded, StreamDecoder
from tracker_protocols.wire.fields import device_key
from tracker_protocols.wire.framing import Framing

HEADER = re.compile(rb"\+(RESP|BUFF|ACK):GT([A-Z0-9]{3})")
VERSION = re.compile(rb"[0-9A-Z]{2}(?:[0-9A-F]{4}|[0-9A-F]{8})")
ENDS: Final = b"$\x00"
DATA_CHARACTERS_MAX: Final = 1_000
MEASURED: Final[dict[str, Callable[[Sequence[bytes], Attributes], None]]] = {
    "CAN": vehicle.read_can,
    "OBD": vehicle.read_obd,
}


class Gl200Decoder(StreamDecoder):
    """Text and HEX. ``device`` is the last one that a frame named."""

    name: ClassVar[str] = "gl200"
    framing: ClassVar[Framing] = FRAMING

    def decode_frame(self, frame: bytes, received_at: datetime) -> Decoded:
        if HEADER.match(frame):
            return self._decode_text(frame)
        if frame[:4] in REPORTS:
            report = decode_masked(frame)
            self.device = report.device
            return report
        if frame[:1] == b"+" and frame[1:2] == bytes((ZERO,)) and frame[-1:] == RECORDS_END:
            reports = decode_records(frame)
            self.device = reports[-1].device
            return reports
        raise BadFrame(Reason.UNKNOWN_KIND, frame[:4].decode("latin-1"))

    def receive_datagram(self, data: bytes, received_at: datetime) -> list[Frame]:
        """Frames one after another as in a stream; the last may lack its end."""
        frames: list[Frame] = []
        at, end = 0, len(data)
        while at < end:
            skip, size = self.framing.cut(data, at)
            at += skip
            if size:
                frames.append(self.read_frame(data[at : at + size], received_at))
                at += size
            elif not skip:
                frames.append(self.read_frame(data[at:], received_at))
                break
        return frames or [self.read_frame(data, received_at)]

    def _decode_text(self, frame: bytes) -> Decoded:
        header, *fields = frame.rstrip(ENDS).split(b",")
        found = HEADER.fullmatch(header)
        if not found:
            raise BadFrame(Reason.MALFORMED, f"{header[:32]!r} is no header")
        if len(fields) < 3 or not VERSION.fullmatch(fields[0]):
            raise BadFrame(Reason.UNKNOWN_KIND, "no protocol version: an older form, such as the GL100's")
        self.device = device = device_key(fields[1])
        form, kind = found.group(1), found.group(2).decode("ascii")
        if form != b"ACK":
            return _Text(form, kind, device, fields).decode()
        if kind == "HBD":
            return Heartbeat(device, reply=Reply(b"+SACK:GTHBD,%b,%b$" % (fields[0], ending(fields)[2])))
        return _acknowledged(kind, device, fields)


def ending(fields: Sequence[bytes]) -> tuple[int, datetime | None, bytes]:
    """Where the fields end before the sending time, that time, and the count number; a frame cut short lacks them."""
    if is_moment(fields[-2]):
        return len(fields) - 2, moment_of(fields[-2]), fields[-1] if is_hex(fields[-1], 4) else b""
    return len(fields), None, b""


def _sack(count: bytes) -> Reply | None:
    """The answer that lets the tracker delete its copy; none where it cannot be told for which."""
    return Reply(b"+SACK:%b$" % count) if count else None


def _acknowledged(kind: str, device: DeviceKey, fields: Sequence[bytes]) -> CommandResult:
    """What a tracker says to a command: its name, perhaps which part of it, and the serial number it was given."""
    stop, sent_at, count = ending(fields)
    attributes: Attributes = {"result": f"+ACK:GT{kind}"}
    if stop > 4 and fields[3]:
        attributes["data"] = fields[3].decode("latin-1")[:64]
    record = b",".join((kind.encode(), *fields[2:stop], count))
    return CommandResult(device, attributes, record, sent_at, _sack(count))


class _Text:
    """One report while it is read."""

    def __init__(self, form: bytes, kind: str, device: DeviceKey, fields: Sequence[bytes]) -> None:
        self.kind, self.device, self.fields = kind, device, fields
        self.model = fields[0][:2]
        self.stop, self.sent_at, count = ending(fields)
        self.reply = _sack(count)
        self.common: Attributes = {"type": kind, "archive": True} if form == b"BUFF" else {"type": kind}

    def decode(self) -> Decoded:
        places = find_places(self.fields, 2, self.stop, doubtful=self.kind == "CAN")
        if not places:
            return self._without_place()
        reports = [self._report(place, b"", None) for place in places[:-1]]
        last = places[-1]
        attributes: Attributes = {}
        self._around(self.fields[2 : places[0].begin], self.fields[last.end : self.stop], attributes)
        last.attributes.update(attributes)
        head = (
            b",".join(self.fields[2 : places[0].begin]) + b"|" + b",".join(self.fields[last.end : self.stop])
        )
        return [*reports, self._report(last, head, self.reply)]

    def _report(self, place: Place, around: bytes, reply: Reply | None) -> Report:
        record = b",".join((self.kind.encode(), around, *self.fields[place.begin : place.end]))
        return Report(
            self.device, place.fix, self.common | place.attributes, record, place.network, self.sent_at, reply
        )

    def _around(self, prefix: Sequence[bytes], tail: Sequence[bytes], attributes: Attributes) -> None:
        """What is said before and behind the place."""
        measured = MEASURED.get(self.kind)
        if measured:
            measured(prefix, attributes)
            return
        if prefix:
            vehicle.read_vin(prefix[0], attributes)
        read_prefix(self.kind, prefix, attributes)
        read_tail(self.kind, self.model, prefix, tail, attributes)

    def _without_place(self) -> Report:
        if self.sent_at is None:
            raise BadFrame(Reason.MALFORMED, "neither a place nor a sending time: cut short")
        attributes = dict(self.common)
        network: Network | None = None
        fields = self.fields[2 : self.stop]
        empty = find_empty(self.fields, 2, self.stop) if self.kind in PLACED else None
        reader = info.READERS.get(self.kind)
        if reader:
            reader(self.model, fields, attributes)
        elif self.kind == "GSM":
            network = info.neighbours(fields)
        elif empty:
            attributes |= empty.attributes
            network = empty.network
            self._around(self.fields[2 : empty.begin], self.fields[empty.end : self.stop], attributes)
        elif self.kind in MEASURED:
            MEASURED[self.kind](fields, attributes)
        else:
            read_prefix(self.kind, (), attributes)
            attributes["data"] = b",".join(fields).decode("latin-1")[:DATA_CHARACTERS_MAX]
        record = b",".join((self.kind.encode(), *fields))
        return Report(self.device, None, attributes, record, network, self.sent_at, self.reply)
