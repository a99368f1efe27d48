"""A camera's photo, asked for piece by piece (codec 12, message kind 0x0D). README.md §Photos."""

from __future__ import annotations

from base64 import b64encode

from tracker_protocols.model import BadFrame, DeviceKey, Reason, Report
from tracker_protocols.wire.fields import moment_from_ms

CAMERA = 0x0D

CONNECTED, ANNOUNCED, PIECE = 0x00, 0x01, 0x02

PIECE_BYTES_MAX = 2048
"""What is asked for at once: so much the camera's protocol sends in one message."""

PHOTO_BYTES_MAX = 512 * 1024
"""A photo of these cameras has 10 to 100 kB; more than this is not asked for."""


class Photo:
    """A photo under way. ``size_bytes`` is None where the camera did not tell it: a short piece ends it then."""

    def __init__(self, photo_id: int, size_bytes: int | None, *, trusted: bool) -> None:
        self.photo_id = photo_id
        self.size_bytes = size_bytes
        self.data = bytearray()
        self.trusted = trusted
        self.whole = size_bytes == 0

    @classmethod
    def announced(cls, content: bytes, *, trusted: bool) -> Photo | None:
        """From an announcement: kind, id, and in most cameras the size. None: larger than we take."""
        if len(content) < 5:
            raise BadFrame(Reason.MALFORMED, "photo without an id")
        size = int.from_bytes(content[5:9], "big") if len(content) >= 9 else None
        if size is not None and size > PHOTO_BYTES_MAX:
            return None
        return cls(int.from_bytes(content[1:5], "big"), size, trusted=trusted)

    @property
    def wanted_bytes(self) -> int:
        """How much to ask for next."""
        if self.size_bytes is None:
            return PIECE_BYTES_MAX
        return min(PIECE_BYTES_MAX, self.size_bytes - len(self.data))

    def request(self) -> bytes:
        """The message that asks for the next piece: kind, id, offset, size."""
        offset = len(self.data).to_bytes(4, "big")
        wanted = self.wanted_bytes.to_bytes(2, "big")
        return bytes([PIECE]) + self.photo_id.to_bytes(4, "big") + offset + wanted

    def add(self, content: bytes, *, trusted: bool) -> None:
        """Take a piece: kind, id, offset, size, data. One that does not follow the last is asked for again."""
        photo_id, offset = int.from_bytes(content[1:5], "big"), int.from_bytes(content[5:9], "big")
        piece = content[11:]
        if len(content) < 11 or len(piece) != int.from_bytes(content[9:11], "big"):
            raise BadFrame(Reason.MALFORMED, "photo piece of another size than it says")
        if photo_id != self.photo_id:
            raise BadFrame(Reason.MALFORMED, f"piece of photo {photo_id} while {self.photo_id} is under way")
        if offset != len(self.data):
            return
        short = len(piece) < self.wanted_bytes
        self.trusted = self.trusted and trusted
        self.data += piece[: self.wanted_bytes]
        if self.size_bytes is None:
            self.whole = short or len(self.data) >= PHOTO_BYTES_MAX
        else:
            self.whole = not piece or len(self.data) >= self.size_bytes

    def report(self, device: DeviceKey | None) -> Report:
        """The whole photo, in base 64. Its id is the moment at which it was taken, by the camera's clock."""
        image = bytes(self.data)
        taken_at = moment_from_ms(self.photo_id * 1000)
        attributes = {
            "image": b64encode(image).decode("ascii"),
            "imageType": "image/jpeg",
            "photoId": self.photo_id,
        }
        return Report(device, None, attributes, self.photo_id.to_bytes(4, "big") + image, sent_at=taken_at)
