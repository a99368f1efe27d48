"""T55: a line is a sentence, with or without its device's name; or the name alone.

Whose the sentences are is said once (``$PGID``, an IMEI on a line of its own …), before each sentence
(``123456789$GPRMC,…``), in it, or, by Maxon, after it. Nothing is ever answered.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from tracker_protocols.model import (
    Attributes,
    BadFrame,
    DeviceKey,
    Frame,
    Heartbeat,
    Login,
    Message,
    Reason,
    Report,
)
from tracker_protocols.t55 import makers, sentences
from tracker_protocols.t55.clock import Clock
from tracker_protocols.t55.sentences import Reader, Sentence, rmc
from tracker_protocols.wire.decoder import Decoded, StreamDecoder
from tracker_protocols.wire.fields import device_key
from tracker_protocols.wire.framing import Framing, Lines

# NMEA's own, by the three letters behind the talker
FORMATTERS: dict[str, Reader] = {
    "RMC": rmc,
    "GGA": sentences.gga,
    "GNS": sentences.gns,
    "GLL": sentences.gll,
    "RMA": sentences.rma,
    "ZDA": makers.zda,
    "ALR": makers.alr,
    "TXT": makers.txt,
}
# makers' own, by the whole name
NAMES: dict[str, Reader] = {
    "TRCCR": sentences.trccr,
    "PUBX": sentences.pubx,
    "PGPS": sentences.pgps,
    "ID": makers.wmcs,
    "GPIOP": makers.gpiop,
    "PIND": makers.pind,
    "PINA": makers.pina,
    "PCTM": makers.pctm,
    "PNETD2": makers.pnetd2,
}
# said between fixes: kept for the next one
ASIDES: dict[str, Reader] = {"GSA": makers.gsa, "GSV": makers.gsv}
# of no use without a fix of their own, but a sign of life
SIGNS_OF_LIFE = frozenset(
    {"VTG", "GST", "GBS", "GRS", "DTM", "HDT", "HDG", "HDM", "ROT", "THS", "RMB", "BOD", "RTE", "WPL", "HRT"}
)
# sentences whose first value is the device's identifier
IDENTITIES = frozenset({"PGID", "DEVID", "PCPTI", "GPFID", "IMEI", "PSIWMDID", "GPSTN", "PMID", "CONNECT"})
TALKERS_MAX = 8  # satellite systems that a receiver names in GSV
BARE_IDENTIFIER_CHARACTERS_MIN = 5  # shorter, a line of hexadecimal digits is a scrap of something else
HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


class T55Decoder(StreamDecoder):
    """Remembers who speaks, the last date, and one fix that nobody has owned yet."""

    name: ClassVar[str] = "t55"
    framing: ClassVar[Framing] = Lines(size_max=1024)  # NMEA allows 82; makers append
    device: DeviceKey | None

    def __init__(self, device: DeviceKey | None = None) -> None:
        super().__init__(device)
        self._clock = Clock()
        self._aside: Attributes = {}
        self._in_view: dict[str, int] = {}
        self._held: Report | None = None

    def receive_datagram(self, data: bytes, received_at: datetime) -> list[Frame]:
        """One or more lines, the last often without an end."""
        lines = [line for line in data.splitlines() if line.strip(b" \t\0")]
        return [self.read_frame(line, received_at) for line in lines or [data]]

    def decode_frame(self, frame: bytes, received_at: datetime) -> Decoded:
        text = frame.decode("latin-1")
        if text[3:6] == "RMC" and text[0] == "$":
            return self._read(rmc, text, frame, received_at)
        text = text.strip(" \t\0")
        begin = text.find("$")
        if begin < 0:
            return self._without_dollar(text, frame, received_at)
        if begin:
            self.device = device_key(prefix_name(text[:begin]))
            text = text[begin:]
        return self._sentence(text, text.encode("latin-1"), received_at)

    def _sentence(self, text: str, frame: bytes, received_at: datetime) -> Decoded:
        name = text[1:].split(",", 1)[0].split("*", 1)[0].split("=", 1)[0].strip().upper()
        formatter = name[2:] if len(name) == 5 and name[0] != "P" else ""
        if name in IDENTITIES:
            return self._identity(name, text, frame, received_at)
        if formatter in ASIDES:
            return self._keep_aside(ASIDES[formatter], name[:2], text, received_at)
        reader = NAMES.get(name) or FORMATTERS.get(formatter)
        if reader is not None:
            return self._read(reader, text, frame, received_at)
        if formatter in SIGNS_OF_LIFE or name in SIGNS_OF_LIFE:
            return Heartbeat(self.device)
        raise BadFrame(Reason.UNKNOWN_KIND, name[:20])

    def _read(self, reader: Reader, text: str, frame: bytes, received_at: datetime) -> Message:
        """What a sentence says, with what was said aside, as a report or a heartbeat."""
        body, _, tail = text.partition("*")
        said = reader(Sentence(body.split(","), tail, self._clock, received_at))
        if said.device is not None:
            self.device = said.device
        attributes = said.attributes
        record = frame[: len(body)]
        if "," in tail:  # what is appended behind the checksum is part of the report, the checksum is not
            record += frame[frame.index(b",", len(body)) :]
        if said.fix is None and said.sent_at is None and "alarm" not in attributes:
            return Heartbeat(self.device, attributes, record)
        if self._aside or self._in_view:
            attributes = self._take_aside() | attributes
        report = Report(self.device, said.fix, attributes, record, None, said.sent_at)
        if self.device is None:
            self._held = report
            raise BadFrame(Reason.NO_DEVICE, "nobody has said whose this is; kept for who says it next")
        return report

    def _keep_aside(self, reader: Reader, talker: str, text: str, received_at: datetime) -> Message:
        fields = text.partition("*")[0].upper().split(",")
        attributes = reader(Sentence(fields, "", self._clock, received_at)).attributes
        visible = attributes.pop("satVisible", None)
        if visible is not None and (talker in self._in_view or len(self._in_view) < TALKERS_MAX):
            self._in_view[talker] = visible
        self._aside |= attributes
        return Heartbeat(self.device)

    def _take_aside(self) -> Attributes:
        aside = self._aside
        if self._in_view:
            aside["satVisible"] = sum(self._in_view.values())
        self._aside, self._in_view = {}, {}
        return aside

    def _without_dollar(self, text: str, frame: bytes, received_at: datetime) -> Decoded:
        head = text[:4].upper()
        if head == "QZE,":
            return self._read(sentences.qze, text, frame, received_at)
        if head == "IMEI":
            return self._login(text[4:].lstrip(" :=,").split(",", 1)[0].split("*", 1)[0].rstrip(";"))
        if len(text) >= BARE_IDENTIFIER_CHARACTERS_MIN and HEXADECIMAL.issuperset(text):
            return self._login(text)
        raise BadFrame(Reason.UNKNOWN_KIND, repr(text[:20]))

    def _identity(self, name: str, text: str, frame: bytes, received_at: datetime) -> Decoded:
        fields = text.partition("*")[0].replace("=", ",", 1).split(",")
        messages = self._login(fields[1] if len(fields) > 1 else "")
        if name == "CONNECT":
            said = makers.connect(Sentence(fields, "", self._clock, received_at))
            return [*messages, Heartbeat(self.device, said.attributes, frame)]
        return messages

    def _login(self, key: str) -> list[Message]:
        """Who speaks; and, if a fix came before the name, that fix."""
        device = self.device = device_key(key)
        held, self._held = self._held, None
        if held is None:
            return [Login(device)]
        return [Login(device), Report(device, held.fix, held.attributes, held.record, None, held.sent_at)]


def prefix_name(prefix: str) -> str:
    """The identifier before a sentence: ``123456789``, ``990000561287964,``, ``4711/022789000688081/``,
    ``imei=352024028982787``.
    """
    name = prefix.strip(" ,/\t").rpartition("/")[2].rpartition(",")[2].strip()
    head = name[:5].upper()
    return name[5:] if head in {"IMEI=", "IMEI:"} else name
