"""Teltonika: an IMEI, then packets of AVL records in one of four codecs, and answers to commands.

Over TCP a packet stands between four zero bytes and a CRC-16/IBM; over UDP it stands behind a header with the
device's IMEI, without either. Both shapes are read by ``decode_frame``.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final

from tracker_protocols.model import BadFrame, DeviceKey, Frame, Heartbeat, Login, Message, Reason, Reply
from tracker_protocols.teltonika import json_form
from tracker_protocols.teltonika.avl import CODEC_8, CODEC_8E, CODEC_16, CODEC_GH3000, read_records
from tracker_protocols.teltonika.commands import (
    CODEC_12,
    CODEC_13,
    CODEC_14,
    CODEC_15,
    is_camera,
    message_12,
    read_messages,
)
from tracker_protocols.teltonika.photo import ANNOUNCED, CAMERA, CONNECTED, PIECE, Photo
from tracker_protocols.wire.checksums import crc16_arc
from tracker_protocols.wire.decoder import Decoded, StreamDecoder
from tracker_protocols.wire.fields import device_key
from tracker_protocols.wire.framing import Framing, Measured

FRAME_BYTES_MAX = 8192
"""AVL packets have at most 1280 bytes (wiki, §Codec 8); photo pieces and answers to commands are longer."""

NAME_BYTES: Final = range(8, 33)
"""An IMEI has 15 digits. Emulators are freer, and a bound is needed to tell names from noise."""

AVL_CODECS = frozenset({CODEC_GH3000, CODEC_8, CODEC_8E, CODEC_16})
MESSAGE_CODECS = frozenset({CODEC_12, CODEC_13, CODEC_14, CODEC_15})

PING = 0xFF
PREAMBLE: Final = bytes(4)
ACCEPTED = Reply(b"\x01")


def frame_size(buffer: bytes, at: int) -> int:
    """Size of the frame that begins at ``at``; see Framing ``Measured``.

    A ping is one byte that noise may hold too: it is believed once a frame or another ping follows.
    """
    head = buffer[at : at + 8]
    if head[:4] == PREAMBLE:
        if len(head) < 8:
            return 0
        size = int.from_bytes(head[4:], "big") + 12
        return size if 12 + 3 <= size <= FRAME_BYTES_MAX else -1
    if head[0] == PING:
        if len(head) == 1:
            return 0
        return 1 if head[1] in {0, PING} else -1
    if head[0]:
        return -1
    if not any(head):
        return 0 if len(head) < 4 else -1
    name_bytes = head[1]
    if name_bytes not in NAME_BYTES:
        return -1
    name = buffer[at + 2 : at + 2 + name_bytes]
    return 2 + name_bytes if not name or name.isalnum() else -1


class TeltonikaDecoder(StreamDecoder):
    """Login first over TCP; over UDP every packet names its device."""

    name: ClassVar[str] = "teltonika"
    framing: ClassVar[Framing] = Measured(frame_size, FRAME_BYTES_MAX)

    def __init__(self, device: DeviceKey | None = None) -> None:
        super().__init__(device)
        self._photo: Photo | None = None

    def receive_publish(self, topic: str, payload: bytes, received_at: datetime) -> list[Frame]:
        if payload[:1] == b"{":
            return [self.read_frame(payload, received_at)]
        return super().receive_publish(topic, payload, received_at)

    def decode_frame(self, frame: bytes, received_at: datetime) -> Decoded:
        if frame[:1] == b"{":
            return json_form.decode(frame, self.device)
        if frame[:4] == PREAMBLE:
            return self._decode_packet(frame)
        if frame == b"\xff":
            return Heartbeat()
        size = int.from_bytes(frame[:2], "big")
        if size != len(frame) - 2:
            raise BadFrame(Reason.MALFORMED, "neither identifier nor packet")
        if len(frame) > 8 and int.from_bytes(frame[6:8], "big") in NAME_BYTES:
            return self._decode_datagram(frame)
        if size not in NAME_BYTES:
            raise BadFrame(Reason.NO_DEVICE, f"an identifier of {size} bytes")
        self.device = device_key(frame[2:])
        return Login(self.device, ACCEPTED)

    def _decode_packet(self, frame: bytes) -> Decoded:
        size = int.from_bytes(frame[4:8], "big")
        data, checksum = (frame[8 : 8 + size], frame[8 + size :]) if size else (frame[8:-4], frame[-4:])
        if len(data) < 3:
            raise BadFrame(Reason.MALFORMED, "too short for a packet")
        # A field of zeros was never filled in: emulators and frames from old collections are like that.
        checked = crc16_arc(data) == int.from_bytes(checksum, "big") or not any(checksum)
        if data[0] == CODEC_12 and is_camera(data):
            return self._decode_photo(data, checked=checked)
        if not checked:
            raise BadFrame(Reason.CHECKSUM, "CRC-16/IBM does not match")
        return self._decode_data(data, None, Reply(b"\x00\x00\x00" + data[1:2]))

    def _decode_datagram(self, frame: bytes) -> Decoded:
        """Length, packet id, a byte that is 1, AVL packet id, IMEI behind its length, data."""
        begin = 8 + int.from_bytes(frame[6:8], "big")
        device = device_key(frame[8:begin])
        data = frame[begin:]
        if len(data) < 3:
            raise BadFrame(Reason.MALFORMED, "too short for a packet")
        if is_camera(data):
            return self._decode_photo(data, checked=True)
        return self._decode_data(
            data, device, Reply(b"\x00\x05" + frame[2:4] + b"\x01" + frame[5:6] + data[1:2])
        )

    def _decode_data(self, data: bytes, device: DeviceKey | None, reply: Reply) -> Decoded:
        codec = data[0]
        if codec in AVL_CODECS:
            return read_records(data, device, reply) or Heartbeat(device, reply=reply)
        if codec in MESSAGE_CODECS:
            messages = read_messages(data, device, logged_in=bool(self.device))
            if not messages:
                raise BadFrame(Reason.MALFORMED, "a packet without a message")
            return messages
        raise BadFrame(Reason.UNKNOWN_KIND, f"codec 0x{codec:02x}")

    def _decode_photo(self, data: bytes, *, checked: bool) -> Message:
        """The camera is answered whatever its checksum says; a photo is believed if all of them were right."""
        content = data[7 : 7 + int.from_bytes(data[3:7], "big")]
        kind = content[0]
        if kind == CONNECTED:
            return Heartbeat()
        if kind == ANNOUNCED:
            self._photo = photo = Photo.announced(content, trusted=checked)
        elif kind == PIECE and self._photo:
            photo = self._photo
            photo.add(content, trusted=checked)
        else:
            raise BadFrame(Reason.UNKNOWN_KIND, f"camera message {kind} while no photo is under way")
        if photo is None:
            return Heartbeat()
        if not photo.whole:
            return Heartbeat(reply=Reply(message_12(CAMERA, photo.request())))
        self._photo = None
        if not photo.trusted:
            raise BadFrame(Reason.CHECKSUM, f"photo {photo.photo_id} had a piece with a wrong checksum")
        return photo.report(None)
