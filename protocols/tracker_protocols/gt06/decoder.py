"""GT06: binary frames with a serial number and a CRC. Login first; then most frames name no device.

``KINDS`` reads a frame by its kind, ``COUSINS`` by kind and length where a maker gave a kind a meaning of
its own, ``LONG_KINDS`` where a long frame (7979) means other than a short one. What each one is owed is
in ``Gt06Decoder.reply_to``. Layouts, sources, quirks: README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ClassVar, Final

from tracker_protocols.gt06 import camera, information, locations, makers, modules, networks, status
from tracker_protocols.gt06.alarms import SEEWORLD_CODES
from tracker_protocols.gt06.fields import CELL_2G, CELL_4G, CELL_CID4, fix_at, imei_at
from tracker_protocols.gt06.frames import (
    FRAME_BYTES_MAX,
    LOGIN,
    STOP,
    WIFI_OFFLINE,
    WIFI_ONLINE,
    answer,
    frame_size,
    long_message,
    message,
)
from tracker_protocols.model import (
    Attributes,
    BadFrame,
    Heartbeat,
    Login,
    Message,
    Reason,
    Reply,
    Report,
    Undecoded,
)
from tracker_protocols.wire.checksums import crc16_x25
from tracker_protocols.wire.decoder import Decoded, StreamDecoder
from tracker_protocols.wire.framing import Framing, Measured

Handler = Callable[[bytes, bytes, Reply | None], Decoded]

ADDRESS_REQUEST, ADDRESS = 0x2A, 0x97
TIME_REQUEST = 0x8A
PHOTO_BEGINS, PHOTO_BLOCK = 0x35, 0x36
NO_ADDRESS: Final = b"NA&&NA&&0##"

KINDS: Final[dict[int, Handler]] = {
    0x10: locations.location(),
    0x11: locations.location(makers.CELL_MNC2),
    0x12: locations.location(),
    0x13: status.heartbeat,
    0x14: status.sign_only,
    0x15: information.short_result,
    0x16: locations.alarm(),
    0x17: networks.one_cell(0),
    0x18: networks.cells(wifi=True),
    0x19: locations.cell_status(CELL_2G),
    0x1A: locations.location_only,
    0x1E: networks.fix_and_cells,
    0x21: information.long_result,
    0x22: locations.location(uploads=True),
    0x23: status.voltage_heartbeat,
    0x24: networks.cells(),
    0x25: makers.nt_location(driver=True),
    0x26: locations.alarm(),
    0x27: locations.alarm(fence=True),
    0x28: networks.cells(),
    0x2C: networks.cells(wifi=True),
    0x2D: locations.location(uploads=True),
    0x2E: networks.cells(),
    0x31: locations.location(uploads=True),
    0x32: locations.alarm(),
    0x33: networks.cells(networks.CELLS_CID4, wifi=True),
    0x34: modules.x1_location,
    0x36: status.modular_heartbeat,
    0x37: locations.modular_location,
    0x38: locations.upgraded_location,
    0x39: locations.alarm_with_modules,
    0x40: information.battery,
    0x41: camera.media_block,
    0x61: locations.tailed(makers.ibutton_tail, CELL_CID4, imei=True),
    0x65: information.car_computer,
    0x66: information.car_computer,
    0x70: modules.modular,
    0x8C: information.car_computer,
    0x94: information.information,
    0x95: camera.event,
    0x9B: information.serial_data,
    0xA0: locations.location(CELL_4G, uploads=True),
    0xA1: networks.cells(networks.CELLS_4G),
    0xA2: networks.cells(networks.CELLS_4G, wifi=True),
    0xA3: locations.alarm(CELL_4G),
    0xA4: locations.alarm(CELL_4G, fence=True),
    0xA5: locations.cell_status(CELL_4G),
    0xA7: networks.one_cell(0),
    0xA9: networks.wifi_alarm,
    0xB2: modules.bluetooth_clock,
    0xF1: modules.device_status,
    0xF2: modules.peripheral,
    0xF3: networks.wifi_points,
}

COUSINS: Final[dict[tuple[int, int], Handler]] = {
    (0x11, 0x13): networks.one_cell(6),
    (0x11, 0x15): networks.one_cell(6),
    (0x12, 0x21): locations.tailed(makers.benway_tail),
    (0x12, 0x24): locations.tailed(makers.vxt01_tail),
    (0x12, 0x27): locations.tailed(makers.no_tail, imei=True),
    (0x12, 0x29): locations.tailed(makers.wetrust_tail),
    (0x12, 0x2B): locations.tailed(makers.s5_tail),
    **{(0x12, length): locations.tailed(makers.card_tail) for length in range(0x71, 0x100)},
    (0x13, 0x13): status.obd6_heartbeat,
    (0x13, 0x15): status.asset_heartbeat,
    (0x16, 0x24): makers.vxt01_alarm,
    (0x16, 0x26): locations.alarm(CELL_CID4, SEEWORLD_CODES),
    (0x16, 0x2D): locations.alarm(tail=makers.driver_tail),
    (0x17, 0x28): locations.tailed(makers.rfid_tail),
    **{(0x19, length): networks.space_cells for length in range(0x17, 0x100)},
    (0x22, 0x2F): locations.tailed(makers.seeworld_tail, CELL_CID4, flag=True),
    (0x22, 0x3C): makers.nt_location(driver=False),
    (0x24, 0x2E): locations.tailed(makers.sr411_tail),
    (0x24, 0x31): networks.counted_cells,
    (0x31, 0x2A): makers.sl4x_location,
    (0x32, 0x27): makers.sl4x_alarm,
    (0x32, 0x29): makers.sl4x_alarm,
    (0x34, 0x37): networks.sl4x_cells,
    (0x36, 0x35): locations.tailed(makers.meter_tail, CELL_CID4, flag=True),
    (0x94, 0x07): information.voltage,
    (0xA2, 0x40): makers.lw_location,
    (0xA3, 0x0C): status.seeworld_heartbeat,
}

LONG_KINDS: Final[dict[int, Handler]] = {0x32: networks.az735, 0x33: networks.az735}

ANSWERED_LONG: Final = frozenset({0x32, 0x33, 0x41})  # in long frames: by a long answer
UNANSWERED: Final = frozenset({0x21, 0x34, 0x38, 0x65, 0x66, 0x80, 0x81, 0x82, 0x8C, 0x94, 0x9B, 0xF3})
ANSWERED_COUSINS: Final = frozenset({(0x34, 0x37)})  # the SL4X, not the X1
UNANSWERED_COUSINS: Final = frozenset(
    {(0x24, 0x2E), *((0x19, length) for length in range(0x17, 0x100))}  # SR411, SPACE10X
)


class Gt06Decoder(StreamDecoder):
    """Login first; every later frame is of the device that logged in, unless it names its own IMEI.

    A frame whose CRC does not match but whose length, stop bits, moment and place do is read and marked
    with the attribute ``checksum`` = false: makers' own examples and sold trackers have wrong CRCs, and
    TCP has guarded the bytes. With ``refuses_bad_checksum`` such a frame is undecoded.
    """

    name: ClassVar[str] = "gt06"
    framing: ClassVar[Framing] = Measured(frame_size, size_max=FRAME_BYTES_MAX)
    refuses_bad_checksum: ClassVar[bool] = False

    def __init__(self, device: str | None = None) -> None:
        super().__init__(device)
        self._photos: dict[int, int] = {}

    def decode_frame(self, frame: bytes, received_at: datetime) -> Decoded:
        if frame[-2:] != STOP or frame[:2] not in {b"\x78\x78", b"\x79\x79"}:
            raise BadFrame(Reason.MALFORMED, "no start or stop bits")
        if frame[0] == 0x78:
            length, begin = frame[2], 3
        else:
            length, begin = frame[2] << 8 | frame[3], 4
        if len(frame) != begin + length + 2 or length < 5:
            return self.decode_bare(frame, received_at)
        matches = crc16_x25(frame[2:-4]) == frame[-4] << 8 | frame[-3]
        if matches:
            return self.decode_kind(frame, begin, length, received_at)
        if self.refuses_bad_checksum:
            raise BadFrame(Reason.CHECKSUM, "CRC-ITU does not match")
        decoded = self.decode_kind(frame, begin, length, received_at)
        return mark(decoded)

    def decode_kind(self, frame: bytes, begin: int, length: int, received_at: datetime) -> Decoded:
        """A whole frame, by its kind."""
        kind, serial, record = frame[begin], frame[-6:-4], frame[begin:-6]
        content = record[1:]
        if begin == 3:
            handler = COUSINS.get((kind, length)) or KINDS.get(kind)
        else:
            handler = LONG_KINDS.get(kind) or KINDS.get(kind)
        if kind == PHOTO_BLOCK and begin == 4:
            return camera.photo_block(content, record, self._photos)
        if handler is not None:
            return handler(content, record, self.reply_to(kind, begin, length, serial))
        return self.decode_question(frame, begin, content, record, received_at)

    def reply_to(self, kind: int, begin: int, length: int, serial: bytes) -> Reply | None:
        """The answer owed to a frame, by the customs of this field; see README.md, "Answers"."""
        if kind in UNANSWERED and (kind, length) not in ANSWERED_COUSINS:
            return None
        if begin == 4:
            if kind in ANSWERED_LONG:
                return Reply(long_message(kind, serial=serial))
        elif (kind, length) in UNANSWERED_COUSINS:
            return None
        return Reply(answer(kind, serial))

    def decode_question(
        self, frame: bytes, begin: int, content: bytes, record: bytes, received_at: datetime
    ) -> Decoded:
        """Frames that are answered otherwise than by their kind and number; and unknown ones."""
        kind, serial = record[0], frame[-6:-4]
        match kind:
            case 0x01:
                self.device = imei_at(content, 0)
                return Login(self.device, Reply(answer(kind, serial)))
            case 0x2A:
                content = bytes((len(NO_ADDRESS),)) + bytes(4) + NO_ADDRESS
                return Heartbeat(None, {}, record, Reply(long_message(ADDRESS, content)))
            case 0x8A:
                at = received_at
                now = bytes((at.year % 100, at.month, at.day, at.hour, at.minute, at.second))
                return Heartbeat(None, {}, record, Reply(message(TIME_REQUEST, now, serial)))
            case 0x35 if begin == 3:
                return camera.photo_begins(content, record, self._photos)
            case _:
                return self.unknown(frame, begin, kind, serial)

    def unknown(self, frame: bytes, begin: int, kind: int, serial: bytes) -> Decoded:
        """Kept whole; a short frame is answered all the same, or the device would say nothing else."""
        undecoded = Undecoded(frame, Reason.UNKNOWN_KIND, f"0x{kind:02x}", self.device)
        if begin == 4 or kind in UNANSWERED:
            return undecoded
        return [undecoded, Heartbeat(None, {}, frame[begin:-6], Reply(answer(kind, serial)))]

    def decode_bare(self, frame: bytes, received_at: datetime) -> Decoded:
        """Frames whose length lies. Those of the 365GPS family have neither serial number nor checksum; some
        makers count the length without the checksum.
        """
        kind = frame[3]
        reply = Reply(answer(kind, frame[-6:-4]))
        if frame[0] == 0x78:
            if kind in {WIFI_OFFLINE, WIFI_ONLINE}:
                return networks.bare_wifi(frame)
            if kind == LOGIN and len(frame) == 15:
                self.device = imei_at(frame, 4)
                return Login(self.device, reply)
            if kind == 0x08 and len(frame) == 6:
                return Heartbeat(None, {}, b"\x08", reply)
            if kind in {0x10, 0x11} and len(frame) == frame[2] + 6:
                attributes: Attributes = {}
                return Report(None, fix_at(frame, 4, attributes), attributes, frame[3:-2], reply=reply)
            matches = crc16_x25(frame[2:-4]) == frame[-4] << 8 | frame[-3]
            if len(frame) == frame[2] + 7 and matches:
                return self.decode_kind(frame, 3, frame[2] + 2, received_at)
        raise BadFrame(Reason.MALFORMED, "the length is not the frame's")


def mark(decoded: Decoded) -> Decoded:
    """Note on every message that carries attributes that its frame's checksum was wrong."""
    messages: Sequence[Message] = decoded if isinstance(decoded, list) else [decoded]  # pyright: ignore[reportAssignmentType]
    for one in messages:
        if not isinstance(one, Login | Undecoded):
            one.attributes["checksum"] = False
    return decoded


def login_key(unique_id: str) -> bytes:
    """An IMEI as eight bytes, one digit a nibble."""
    return bytes.fromhex(unique_id.rjust(16, "0"))
