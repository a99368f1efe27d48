"""GT06: binary frames ``7878 … 0d0a`` with a serial number and a CRC. Login first; then frames name no device."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from tracker_protocols.model import BadFrame, DeviceKey, Fix, Heartbeat, Login, Message, Reason, Reply, Report
from tracker_protocols.wire.checksums import crc16_x25
from tracker_protocols.wire.decoder import StreamDecoder
from tracker_protocols.wire.fields import MPS_PER_KMH, device_key, moment
from tracker_protocols.wire.framing import Framing, Measured

LOGIN, LOCATION, STATUS, LOCATION_2 = 0x01, 0x12, 0x13, 0x22


def frame_size(buffer: bytes, at: int) -> int:
    """Size of the frame that begins at ``at``; see Framing ``Measured``."""
    head = buffer[at : at + 4]
    if head[:2] == b"\x78\x78":
        return head[2] + 5 if len(head) > 2 else 0
    if head[:2] == b"\x79\x79":
        return int.from_bytes(head[2:4], "big") + 6 if len(head) == 4 else 0
    return 0 if head in {b"\x78", b"\x79"} else -1


def answer(kind: int, serial: bytes) -> bytes:
    """The five-byte body that acknowledges a frame: its kind and serial number."""
    body = b"\x05" + bytes([kind]) + serial
    return b"\x78\x78" + body + crc16_x25(body).to_bytes(2, "big") + b"\r\n"


class Gt06Decoder(StreamDecoder):
    """Login first; every later frame is of the device that logged in."""

    name: ClassVar[str] = "gt06"
    framing: ClassVar[Framing] = Measured(frame_size, size_max=2048)

    def decode_frame(self, frame: bytes, received_at: datetime) -> Message:
        if crc16_x25(frame[2:-4]) != int.from_bytes(frame[-4:-2], "big"):
            raise BadFrame(Reason.CHECKSUM, "CRC-ITU does not match")
        begin = 3 if frame[0] == 0x78 else 4
        kind, content, serial = frame[begin], frame[begin + 1 : -6], frame[-6:-4]
        reply = Reply(answer(kind, serial))
        match kind:
            case 0x01:
                self.device = device_key(content[:8].hex().lstrip("0"))
                return Login(self.device, reply)
            case 0x12 | 0x22:
                return Report(
                    None, self.fix(content), {"sat": content[6] & 0x0F}, frame[begin:-6], reply=reply
                )
            case 0x13:
                return Heartbeat(reply=reply)
            case _:
                raise BadFrame(Reason.UNKNOWN_KIND, f"0x{kind:02x}")

    def fix(self, content: bytes) -> Fix:
        flags = int.from_bytes(content[16:18], "big")
        latitude = int.from_bytes(content[7:11], "big") / 1_800_000
        longitude = int.from_bytes(content[11:15], "big") / 1_800_000
        return Fix(
            fixed_at=moment(*content[:6]),
            latitude=latitude if flags & 0x0400 else -latitude,
            longitude=-longitude if flags & 0x0800 else longitude,
            valid=bool(flags & 0x1000),
            speed_mps=content[15] * MPS_PER_KMH,
            course_deg=float(flags & 0x03FF),
        )


def login_key(unique_id: DeviceKey) -> bytes:
    """An IMEI as eight bytes, one digit a nibble."""
    return bytes.fromhex(unique_id.rjust(16, "0"))
